"""The pickle, format version 1: a pickled dict of plain values, beside it its digest in a `.sha256` file.

Pickles are hostile until checked. So the digest comes first, over the same bytes that are then parsed; the unpickler
admits no global at all (arrays are stored as shape and bytes); and what comes out is checked field by field.
"""

import hashlib
import io
import os
import pickle
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.errors import (
    PickleCorruptError,
    PickleHostileError,
    PickleMissingError,
    PickleTamperedError,
    PickleVersionError,
)
from models.preprocessing import Preprocessing

T = TypeVar("T")

FORMAT: Final = "cuemill"
FORMAT_VERSION: Final = 1
MAX_BYTES: Final = 512_000_000
UNCERTAIN_BELOW: Final = "uncertain_below"
"""The part of a release's calibration, kept with its metrics too, that says which scores to call uncertain."""

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
        return self.accuracy_f32 - self.accuracy <= self.MAY_LOSE

    def to_plain(self) -> dict[str, Any]:
        """For the pickle."""
        return {**asdict(self), "ranges": {name: list(ends) for name, ends in self.ranges.items()}}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_plain`.

        Raises:
            KeyError, TypeError, ValueError: not what it gives.
        """
        ranges = {str(name): (float(low), float(high)) for name, (low, high) in values["ranges"].items()}
        if not all(np.isfinite(ends).all() and ends[0] <= 0 < ends[1] for ends in ranges.values()):
            raise ValueError("a range for int8 isn't one around zero")
        return cls(ranges, float(values["accuracy"]), float(values["accuracy_f32"]), int(values["images"]))


@dataclass(frozen=True)
class Release:
    """A trained network and all there is to know about it.

    Attributes:
        name: such as `Model3`.
        labels: the softmax's labels, in order.
        trained_labels: those of them it has seen examples of; the others' scores mean nothing.
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


def digest_file(path: Path) -> Path:
    """Where the digest of a pickle lies, in the form `sha256sum --check` reads."""
    return path.with_name(path.name + ".sha256")


def save(release: Release, path: Path) -> str:
    """Writes the pickle and its digest, each by rename, so that a kill leaves whole files; returns the digest."""
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "name": release.name,
        "labels": list(release.labels),
        "trained_labels": list(release.trained_labels),
        "preprocessing": release.preprocessing.to_plain(),
        "network": release.network,
        "weights": {
            name: {"shape": list(array.shape), "float32": np.ascontiguousarray(array, "<f4").tobytes()}
            for name, array in release.weights.items()
        },
        "keras_config": release.keras_config,
        "metrics": dict(release.metrics),
        "calibration": dict(release.calibration),
        "int8": release.int8.to_plain() if release.int8 else None,
        "data": dict(release.data),
        "training": dict(release.training),
        "versions": dict(release.versions),
    }
    raw = pickle.dumps(_without_sharing(content), protocol=4)
    sha256 = hashlib.sha256(raw).hexdigest()
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, raw)
    _write(digest_file(path), f"{sha256}  {path.name}\n".encode())
    return sha256


def _without_sharing(value: Any) -> Any:
    """The same value, of new containers and interned strings.

    A pickle refers back to an object it holds already, so its bytes would depend on which equal strings happen to be
    one object, and one training run twice would give two digests.
    """
    if isinstance(value, dict):
        return {_without_sharing(key): _without_sharing(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_sharing(inner) for inner in value]
    return sys.intern(value) if type(value) is str else value


def load(path: Path, sha256: str | None = None) -> Release:
    """Reads a pickle without executing anything in it.

    Args:
        sha256: the digest it must have; by default the one in the file beside it.

    Raises:
        PickleMissingError: no file, or no digest to check it by.
        PickleTamperedError: it doesn't have that digest, so it was cut short or changed.
        PickleHostileError: it asks for code to run.
        PickleVersionError: a format this program doesn't know.
        PickleCorruptError: not a pickle, or not a release of ours.
    """
    expected = sha256 or recorded_digest(path)
    raw = _read(path)
    found = hashlib.sha256(raw).hexdigest()
    if found != expected:
        raise PickleTamperedError(
            f"{path} was changed or cut short: its SHA-256 is {found[:12]}..., expected {expected[:12]}.... "
            "Fetch the model again; don't load a file you can't trace."
        )
    return _check(path, _parse(path, raw), found)


def recorded_digest(path: Path) -> str:
    """The digest in the file beside a pickle.

    Raises:
        PickleMissingError: there is none.
    """
    if not path.is_file():
        raise PickleMissingError(f"No model at {path}. Train one with `cuemill train`, or set CUEMILL_MODEL.")
    try:
        return digest_file(path).read_text().split()[0]
    except (OSError, IndexError, UnicodeDecodeError):
        raise PickleMissingError(
            f"{digest_file(path)} is missing or empty, so {path.name} can't be checked. Copy it along with the model."
        ) from None


def _read(path: Path) -> bytes:
    if path.stat().st_size > MAX_BYTES:
        raise PickleCorruptError(f"{path} is larger than {MAX_BYTES:,} bytes, so it is no model of ours.")
    return path.read_bytes()


class _PlainUnpickler(pickle.Unpickler):
    """Builds dicts, lists, strings, bytes and numbers; anything else is refused before it is looked up."""

    def find_class(self, module: str, name: str) -> Any:
        raise PickleHostileError(f"it asks for {module}.{name}, and a model of ours asks for nothing")

    def persistent_load(self, pid: Any) -> Any:
        raise PickleHostileError("it asks for an object outside itself")


def _parse(path: Path, raw: bytes) -> dict[str, Any]:
    try:
        content = _PlainUnpickler(io.BytesIO(raw)).load()
    except PickleHostileError as error:
        raise PickleHostileError(f"{path} is refused: {error}.") from None
    except Exception as error:  # The unpickler raises nearly anything on broken bytes.
        raise PickleCorruptError(f"{path} is no pickle, or a broken one: {type(error).__name__}: {error}.") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise PickleCorruptError(f"{path} is a pickle, but not of a Cuemill model.")
    if content.get("format_version") != FORMAT_VERSION:
        raise PickleVersionError(
            f"{path} has format version {content.get('format_version')!r}; this program reads {FORMAT_VERSION}. "
            "Install the Cuemill that wrote it, or export the model again."
        )
    return content


def _check(path: Path, content: dict[str, Any], sha256: str) -> Release:
    try:
        weights = {
            str(name): np.frombuffer(entry["float32"], "<f4").reshape(entry["shape"])
            for name, entry in content["weights"].items()
        }
        release = Release(
            name=_typed(content, "name", str),
            labels=tuple(str(label) for label in _typed(content, "labels", list)),
            trained_labels=tuple(str(label) for label in _typed(content, "trained_labels", list)),
            preprocessing=Preprocessing.from_plain(content["preprocessing"]),
            network=_typed(content, "network", list),
            weights=weights,
            keras_config=_typed(content, "keras_config", str),
            metrics=_typed(content, "metrics", dict),
            calibration=_typed({"calibration": {}, **content}, "calibration", dict),  # Older files have none.
            int8=Int8.from_plain(content["int8"]) if content.get("int8") else None,
            data=_typed(content, "data", dict),
            training=_typed(content, "training", dict),
            versions=_typed(content, "versions", dict),
            sha256=sha256,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PickleCorruptError(f"{path} isn't a complete model: {type(error).__name__}: {error}.") from None
    if not release.labels or not set(release.trained_labels) <= set(release.labels):
        raise PickleCorruptError(f"{path} isn't a complete model: its labels contradict one another.")
    if not all(np.isfinite(array).all() for array in weights.values()):
        raise PickleCorruptError(f"{path} has weights that are no numbers.")
    return release


def _typed(content: dict[str, Any], key: str, kind: type[T]) -> T:
    value = content[key]
    if not isinstance(value, kind):
        raise TypeError(f"{key} is a {type(value).__name__}, expected a {kind.__name__}")
    return value


def _write(path: Path, raw: bytes) -> None:
    descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        Path(beside).chmod(0o644)
        os.replace(beside, path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise
