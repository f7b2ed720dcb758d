"""What int8 takes and costs, as the trainer finds it out."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.release.release import Int8, Release
from tests.builders import tiny_release
from trainer.datasets.dataset import Dataset
from trainer.int8 import IMAGES, Serving, quantize

LABELS = np.arange(600) % 10


def always(labels: NDArray[np.int64]) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """A network that gives each image, told by its first pixel, one label."""
    return lambda inputs: np.eye(28, dtype=np.float32)[
        labels[np.rint((inputs[:, 0, 0, 0] + 1) * 127.5).astype(int)]
    ]


def test_ranges_are_found_on_some_images_and_both_precisions_measured_on_all() -> None:
    images = np.zeros((600, 48, 48, 3), np.uint8)
    images[:, 0, 0, 0] = LABELS
    taken: list[tuple[int, ...]] = []

    def find_ranges(_: Release, inputs: NDArray[np.float32]) -> Int8:
        taken.append(inputs.shape)
        return Int8({"input": (-1.0, 1.0)})

    exact, rough = np.arange(10), np.array([*range(9), 0])  # Rounded, the tenth label is missed.
    serving = Serving(
        find_ranges, lambda release, precision: always(exact if precision == "f32" else rough)
    )
    found = quantize(tiny_release(), Dataset(images, LABELS, "made up"), serving)
    assert taken == [(IMAGES, 48, 48, 3)]
    assert found == Int8({"input": (-1.0, 1.0)}, accuracy=0.9, accuracy_f32=1.0, images=600)
    assert not found.admitted
