"""Making a release that workers may run in int8, and measuring what that costs."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from models.release.release import Int8, Release
from trainer.datasets.dataset import Dataset
from trainer.quality.evaluation import Predict, measure, predict_all

IMAGES: Final = 512  # That ranges are found on: many more change them little.


@dataclass(frozen=True)
class Serving:
    """How workers run networks; handed in by who may import both rooms.

    Attributes:
        quantize: the ranges that int8 needs, found on inputs (n, height, width, 3).
        predict: what runs a release in a precision.
    """

    quantize: Callable[[Release, NDArray[np.float32]], Int8]
    predict: Callable[[Release, Literal["f32", "int8"]], Predict]


def quantize(release: Release, data: Dataset, serving: Serving) -> Int8:
    """What it takes to run a release in int8, and its accuracy on `data` in both precisions, as workers reach it."""
    preprocessing = release.preprocessing
    drawn = np.sort(np.random.default_rng(0).permutation(len(data))[:IMAGES])
    int8 = serving.quantize(release, preprocessing.to_input(data.images[drawn]))

    def accuracy(precision: Literal["f32", "int8"]) -> float:
        predict = serving.predict(replace(release, int8=int8), precision)
        return measure(predict_all(predict, data, preprocessing), data.labels)["accuracy"]

    return replace(int8, accuracy=accuracy("int8"), accuracy_f32=accuracy("f32"), images=len(data))
