"""A trained network as data, independent of how it is stored."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from models.pictures.preprocessing import Preprocessing

Node = dict[str, Any]
"""A step of the network: `op`, `name`, `inputs`, `weights`, `attributes`. See
worker/engines/graph.py."""


@dataclass(frozen=True)
class Int8:
    """What running a network in 8-bit integers needs, and what it costs in accuracy.

    Attributes:
        ranges: the lowest and highest value of each node that a convolution or dense layer takes as
            input (`worker/engines/ranges.py`).
        accuracy, accuracy_f32: the share of `images` classified correctly in int8 and in float32,
            in [0, 1].
    """

    MAX_LOSS: ClassVar[float] = 0.003

    ranges: Mapping[str, tuple[float, float]]
    accuracy: float = 0.0
    accuracy_f32: float = 1.0
    images: int = 0

    @property
    def admitted(self) -> bool:
        """Whether int8 may be chosen automatically: it loses little enough accuracy."""
        loss = self.accuracy_f32 - self.accuracy
        return round(loss, 9) <= self.MAX_LOSS  # 0.7 - 0.697 is slightly more than 0.003.

    def to_plain(self) -> dict[str, Any]:
        """Plain values for the pickle."""
        return {**asdict(self), "ranges": {name: list(ends) for name, ends in self.ranges.items()}}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_plain`.

        Raises:
            KeyError, TypeError, ValueError, OverflowError: the values are not what it writes.
        """
        ranges = {
            str(name): (float(low), float(high)) for name, (low, high) in values["ranges"].items()
        }
        if not all(np.isfinite(ends).all() and ends[0] <= 0 < ends[1] for ends in ranges.values()):
            raise ValueError("an int8 range does not include zero")

        int8 = cls(
            ranges=ranges,
            accuracy=float(values["accuracy"]),
            accuracy_f32=float(values["accuracy_f32"]),
            images=int(values["images"]),
        )
        if not (0 <= int8.accuracy <= 1 and 0 <= int8.accuracy_f32 <= 1):
            raise ValueError("an int8 accuracy is outside [0, 1]")
        return int8


@dataclass(frozen=True)
class Release:
    """A trained network and everything known about it.

    Attributes:
        name: such as `Model3`.
        labels: the softmax's labels, in order.
        trained_labels: the labels it has seen examples of; the scores of all others mean nothing.
            Empty = unknown.
        network: the steps that run it without TensorFlow, in order; the last one's output is the
            scores.
        weights: float32, by name.
        keras_config: the network as Keras' JSON, to train on from, together with `weights`.
        metrics: values in [0, 1], by name, such as `val_accuracy`.
        calibration: how its scores were calibrated (`trainer/quality/calibration.py`). Empty = they
            were not.
        int8: how to run it in 8-bit integers; None = unknown.
        data, training, versions: what it was trained on, how, and with which software.
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
