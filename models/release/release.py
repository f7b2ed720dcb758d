"""A trained network as data: what is in a pickle, and nothing of how it is stored."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from models.pictures.preprocessing import Preprocessing

Node = dict[str, Any]
"""One step of the network: `op`, `name`, `inputs` (names), `weights` (names), `attributes`. See worker/engines."""


@dataclass(frozen=True)
class Int8:
    """What it takes to run a network in 8-bit integers, and what came of it.

    Attributes:
        ranges: for each node that a convolution or dense layer takes its input from, the lowest and the highest value
            that are told apart (`worker/engines/quantize.py`).
        accuracy, accuracy_f32: the shares of so many images that were right in int8 and in float32, in [0, 1].
    """

    MAY_LOSE: ClassVar[float] = 0.003

    ranges: Mapping[str, tuple[float, float]]
    accuracy: float = 0.0
    accuracy_f32: float = 1.0
    images: int = 0

    @property
    def admitted(self) -> bool:
        """Whether it may be chosen unasked."""
        return (
            round(self.accuracy_f32 - self.accuracy, 9) <= self.MAY_LOSE
        )  # 0.7 - 0.697 is a little over 0.003.

    def to_plain(self) -> dict[str, Any]:
        """For the pickle."""
        return {**asdict(self), "ranges": {name: list(ends) for name, ends in self.ranges.items()}}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_plain`.

        Raises:
            KeyError, TypeError, ValueError, OverflowError: not what it gives.
        """
        ranges = {
            str(name): (float(low), float(high)) for name, (low, high) in values["ranges"].items()
        }
        if not all(np.isfinite(ends).all() and ends[0] <= 0 < ends[1] for ends in ranges.values()):
            raise ValueError("a range for int8 isn't one around zero")
        made = cls(
            ranges, float(values["accuracy"]), float(values["accuracy_f32"]), int(values["images"])
        )
        if not (0 <= made.accuracy <= 1 and 0 <= made.accuracy_f32 <= 1):
            raise ValueError("an accuracy of int8 isn't one in [0, 1]")
        return made


@dataclass(frozen=True)
class Release:
    """A trained network and all there is to know about it.

    Attributes:
        name: such as `Model3`.
        labels: the softmax's labels, in order.
        trained_labels: those of them it has seen examples of, and the others' scores mean nothing; empty = unknown.
        network: the steps that run it without TensorFlow, in order; the last one's output is the scores.
        weights: by name; float32.
        keras_config: the network as Keras' JSON, to train on from, with `weights`.
        metrics: figures in [0, 1], by name, such as `val_accuracy`.
        calibration: how its scores were made to mean what they say; `trainer/calibration.py` says what is in it. Empty
            where they weren't.
        int8: how to run it in 8-bit integers; None where that wasn't found out.
        data, training, versions: what it was trained on, how, and with what.
        sha256: of the file it was loaded from; empty before it is saved.
    """

    name: str
    labels: tuple[str, ...]
    trained_labels: tuple[str, ...]
    preprocessing: Preprocessing
    network: list[Node]
    weights: Mapping[str, NDArray[np.float32]]
    keras_config: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    calibration: Mapping[str, float] = field(default_factory=dict)
    int8: Int8 | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    sha256: str = ""
