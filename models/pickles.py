"""The pickle, format version 1: a pickled dict of plain values, beside it its digest in a `.sha256` file.

Pickles are hostile until checked. So the digest comes first, over the same bytes that are then parsed. Then the stream
is walked step by step and may do no more than lay down plain values; the unpickler, which then runs it, admits no
global at all (arrays are stored as shape and bytes). What comes out is measured as a tree, and checked field by field.
"""

import hashlib
import io
import math
import os
import pickle
import pickletools
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
MAX_STEPS: Final = 100_000
"""Of the pickle's stream; it also bounds how many values there are. A network of 60 layers takes 4,000."""
MAX_DEPTH: Final = 32
UNCERTAIN_BELOW: Final = "uncertain_below"
"""The part of a release's calibration, kept with its metrics too, that says which scores to call uncertain."""

_PLAIN: Final = frozenset(
    {
        *("PROTO", "FRAME", "MARK", "STOP", "MEMOIZE", "BINGET", "LONG_BINGET"),
        *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
        *("SHORT_BINUNICODE", "BINUNICODE", "SHORT_BINBYTES", "BINBYTES"),
        *("EMPTY_DICT", "SETITEM", "SETITEMS", "EMPTY_LIST", "APPEND", "APPENDS"),
    }
)
"""The steps that `save` writes. Left out besides those that call: tuples, which nested a million deep and used as a key
overrun the stack; numbered memo slots, of which the unpickler allocates as many as the highest number says; and all
that declares sizes of eight bytes."""
_CALLS: Final = frozenset(
    {
        *("GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "REDUCE", "BUILD"),
        *("EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID", "NEXT_BUFFER", "READONLY_BUFFER"),
    }
)
"""The steps that look something up, call it, or take what isn't in the stream."""

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
        return round(self.accuracy_f32 - self.accuracy, 9) <= self.MAY_LOSE  # 0.7 - 0.697 is a little over 0.003.

    def to_plain(self) -> dict[str, Any]:
        """For the pickle."""
        return {**asdict(self), "ranges": {name: list(ends) for name, ends in self.ranges.items()}}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_plain`.

        Raises:
            KeyError, TypeError, ValueError, OverflowError: not what it gives.
        """
        ranges = {str(name): (float(low), float(high)) for name, (low, high) in values["ranges"].items()}
        if not all(np.isfinite(ends).all() and ends[0] <= 0 < ends[1] for ends in ranges.values()):
            raise ValueError("a range for int8 isn't one around zero")
        made = cls(ranges, float(values["accuracy"]), float(values["accuracy_f32"]), int(values["images"]))
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
        with digest_file(path).open() as file:
            return file.read(1000).split()[0]
    except (OSError, IndexError, UnicodeDecodeError):
        raise PickleMissingError(
            f"{digest_file(path)} is missing or empty, so {path.name} can't be checked. Copy it along with the model."
        ) from None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise PickleMissingError(f"{path} can't be read: {error.strerror}.") from None
    if len(raw) > MAX_BYTES:
        raise PickleCorruptError(f"{path} is larger than {MAX_BYTES:,} bytes, so it is no model of ours.")
    return raw


class _PlainUnpickler(pickle.Unpickler):
    """Builds dicts, lists, strings, bytes and numbers; anything else is refused before it is looked up."""

    def find_class(self, module: str, name: str) -> Any:
        raise PickleHostileError(f"it asks for {module}.{name}, and a model of ours asks for nothing")

    def persistent_load(self, pid: Any) -> Any:
        raise PickleHostileError("it asks for an object outside itself")


def _parse(path: Path, raw: bytes) -> dict[str, Any]:
    try:
        _check_steps(raw)
        content = _PlainUnpickler(io.BytesIO(raw)).load()
        _check_tree(content)
    except PickleHostileError as error:
        raise PickleHostileError(f"{path} is refused: {error}.") from None
    except Exception as error:  # The unpickler raises nearly anything on broken bytes.
        said = f"{type(error).__name__}: {error!s:.300}"
        raise PickleCorruptError(f"{path} is no pickle, or a broken one: {said}.") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise PickleCorruptError(f"{path} is a pickle, but not of a Cuemill model.")
    if content.get("format_version") != FORMAT_VERSION:
        raise PickleVersionError(
            f"{path} has format version {content.get('format_version')!r:.40}; this program reads {FORMAT_VERSION}. "
            "Install the Cuemill that wrote it, or export the model again."
        )
    return content


def _check_steps(raw: bytes) -> None:
    """Walks the stream without running any of it.

    Raises:
        PickleHostileError: it would call something, or look something up.
        ValueError: it holds a step that isn't one of ours, or too many; or it can't be read to its end.
    """
    foreign, before, last = "", "", ""
    for count, (opcode, argument, _) in enumerate(pickletools.genops(raw)):
        if opcode.name in _CALLS:
            called = {"STACK_GLOBAL": f"{before}.{last}", "GLOBAL": argument, "INST": argument}.get(opcode.name)
            asked = str(called or opcode.name).replace(" ", ".")[:200]
            raise PickleHostileError(f"it asks for {asked}, and a model of ours asks for nothing")
        if count >= MAX_STEPS:
            raise ValueError(f"it takes more than {MAX_STEPS:,} steps")
        if isinstance(argument, str):
            before, last = last, argument
        if opcode.name not in _PLAIN:
            foreign = foreign or opcode.name
    if foreign:
        raise ValueError(f"it holds the step {foreign}, which no model of ours does")


def _check_tree(content: Any) -> None:
    """Measures what was unpickled, level by level, counting each value as often as it is referred to.

    So neither a few lists that refer to one another by the thousand get through, nor one that holds itself.

    Raises:
        ValueError: it is too deep or too many, or has a key that is no string, or a whole number of over 64 bits.
    """
    level, left = [content], MAX_STEPS
    for _ in range(MAX_DEPTH):
        holders = [value for value in level if isinstance(value, dict | list)]
        left -= sum(map(len, holders))
        if left < 0:
            raise ValueError(f"it holds more than {MAX_STEPS:,} values")
        if not all(type(key) is str for holder in holders if isinstance(holder, dict) for key in holder):
            raise ValueError("a key in it is no string")
        if any(type(value) is int and value.bit_length() > 63 for value in level):
            raise ValueError("a number in it is too large")
        if not holders:
            return
        level = [inner for holder in holders for inner in (holder.values() if isinstance(holder, dict) else holder)]
    raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels")


def _check(path: Path, content: dict[str, Any], sha256: str) -> Release:
    try:
        weights = {name: _array(entry) for name, entry in _typed(content, "weights", dict).items()}
        release = Release(
            name=_typed(content, "name", str),
            labels=tuple(_all(content, "labels", list, str)),
            trained_labels=tuple(_all(content, "trained_labels", list, str)),
            preprocessing=Preprocessing.from_plain(content["preprocessing"]),
            network=_all(content, "network", list, dict),
            weights=weights,
            keras_config=_typed(content, "keras_config", str),
            metrics=_figures(content, "metrics"),
            calibration=_figures({"calibration": {}, **content}, "calibration"),  # Older files have none.
            int8=Int8.from_plain(content["int8"]) if content.get("int8") else None,
            data=_typed(content, "data", dict),
            training=_typed(content, "training", dict),
            versions=_all(content, "versions", dict, str),
            sha256=sha256,
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise PickleCorruptError(f"{path} isn't a complete model: {type(error).__name__}: {error!s:.300}.") from None
    if not release.labels or not set(release.trained_labels) <= set(release.labels):
        raise PickleCorruptError(f"{path} isn't a complete model: its labels contradict one another.")
    if not all(np.isfinite(array).all() for array in weights.values()):
        raise PickleCorruptError(f"{path} has weights that are no numbers.")
    return release


def _array(entry: Mapping[str, Any]) -> NDArray[np.float32]:
    shape = _all(entry, "shape", list, int)
    if min(shape, default=0) < 0 or 4 * math.prod(shape) != len(_typed(entry, "float32", bytes)):
        raise ValueError(f"a weight of shape {shape!s:.80} doesn't have as many numbers")
    return np.frombuffer(entry["float32"], "<f4").reshape(shape)


def _figures(content: Mapping[str, Any], key: str) -> dict[str, float]:
    figures: dict[str, float] = _typed(content, key, dict)
    if not all(type(figure) in (int, float) and math.isfinite(figure) for figure in figures.values()):
        raise TypeError(f"{key} holds something else than numbers")
    return figures


def _all(content: Mapping[str, Any], key: str, kind: type[T], inner: type) -> T:
    """Like `_typed`, and each of the elements or values is of one type too."""
    held: Any = _typed(content, key, kind)
    if not all(type(one) is inner for one in (held.values() if isinstance(held, dict) else held)):
        raise TypeError(f"{key} holds something else than {inner.__name__}")
    return held  # type: ignore[no-any-return]


def _typed(content: Mapping[str, Any], key: str, kind: type[T]) -> T:
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
