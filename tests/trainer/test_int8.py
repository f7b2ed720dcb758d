"""The ranges and the accuracy that the trainer records for int8."""

import numpy as np
import pytest
from numpy.typing import NDArray

from models.release.release import Int8, Release
from tests.builders import tiny_release
from trainer.datasets.dataset import Dataset
from trainer.int8 import RANGE_IMAGES, measure_int8

LABELS = np.arange(600) % 10


class StubEngine:
    """Gives each image the label that its first pixel names; in int8 it misses the tenth label."""

    def __init__(self, release: Release, precision: str) -> None:
        assert release.int8
        self._labels = np.arange(10) if precision == "f32" else np.array([*range(9), 0])

    def predict(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        pixels = np.rint((inputs[:, 0, 0, 0] + 1) * 127.5).astype(int)
        scores: NDArray[np.float32] = np.eye(28, dtype=np.float32)[self._labels[pixels]]
        return scores


def test_ranges_are_found_on_some_images_and_both_precisions_measured_on_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = np.zeros((600, 48, 48, 3), np.uint8)
    images[:, 0, 0, 0] = LABELS
    shapes: list[tuple[int, ...]] = []

    def find_ranges(_: Release, inputs: NDArray[np.float32]) -> Int8:
        shapes.append(inputs.shape)
        return Int8({"input": (-1.0, 1.0)})

    monkeypatch.setattr("trainer.int8.find_ranges", find_ranges)
    monkeypatch.setattr("trainer.int8.OpenVinoEngine", StubEngine)
    int8 = measure_int8(tiny_release(), Dataset(images, LABELS, "made up"))
    assert shapes == [(RANGE_IMAGES, 48, 48, 3)]
    assert int8 == Int8({"input": (-1.0, 1.0)}, accuracy=0.9, accuracy_f32=1.0, images=600)
    assert not int8.admitted
