"""Preparing a release for int8, and measuring the accuracy that int8 costs."""

from dataclasses import replace
from typing import Final, Literal

import numpy as np

from models.release.release import Int8, Release
from trainer.datasets.dataset import Dataset
from trainer.quality.evaluation import measure, predict_all
from worker.engines.openvino import OpenVinoEngine
from worker.engines.ranges import find_ranges

RANGE_IMAGES: Final = 512
"""Images from which the value ranges are estimated; many more change them little."""


def measure_int8(release: Release, dataset: Dataset) -> Int8:
    """Finds the ranges that int8 needs, and measures accuracy in int8 and float32 as workers do.

    Raises:
        EngineError: the network is malformed.
    """
    sample = np.sort(np.random.default_rng(0).permutation(len(dataset))[:RANGE_IMAGES])
    inputs = release.preprocessing.to_input(dataset.images[sample])
    int8 = find_ranges(release, inputs)

    quantized = replace(release, int8=int8)
    return replace(
        int8,
        accuracy=_accuracy(quantized, "int8", dataset),
        accuracy_f32=_accuracy(quantized, "f32", dataset),
        images=len(dataset),
    )


def _accuracy(release: Release, precision: Literal["f32", "int8"], dataset: Dataset) -> float:
    engine = OpenVinoEngine(release, precision)
    scores = predict_all(engine.predict, dataset, release.preprocessing)
    return measure(scores, dataset.labels)["accuracy"]
