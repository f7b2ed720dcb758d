"""The pickle, format version 1: a pickled dict of plain values, beside it its digest in a `.sha256` file.

Pickles are hostile until checked. So the digest comes first, over the same bytes that are then parsed. Then the stream
is walked step by step and may do no more than lay down plain values; the unpickler, which then runs it, admits no
global at all (arrays are stored as shape and bytes). What comes out is measured as a tree, and checked field by field.
"""

import hashlib
import math
import os
import pickle
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.errors import (
    PickleCorruptError,
    PickleHostileError,
    PickleMissingError,
    PickleTamperedError,
    PickleVersionError,
)
from models.pictures.preprocessing import Preprocessing
from models.release import safe_pickle
from models.release.release import Int8, Release

T = TypeVar("T")

FORMAT: Final = "cuemill"
FORMAT_VERSION: Final = 1
MAX_BYTES: Final = 512_000_000


def digest_file(path: Path) -> Path:
    """Where the digest of a pickle lies, in the form `sha256sum --check` reads."""
    return path.with_name(path.name + ".sha256")


def save_release(release: Release, path: Path) -> str:
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
            name: {
                "shape": list(array.shape),
                "float32": np.ascontiguousarray(array, "<f4").tobytes(),
            }
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


def load_release(path: Path, sha256: str | None = None) -> Release:
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
        raise PickleMissingError(
            f"No model at {path}. Train one with `cuemill train`, or set CUEMILL_MODEL."
        )
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
        raise PickleCorruptError(
            f"{path} is larger than {MAX_BYTES:,} bytes, so it is no model of ours."
        )
    return raw


def _parse(path: Path, raw: bytes) -> dict[str, Any]:
    try:
        content = safe_pickle.loads(raw)
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
            calibration=_figures(
                {"calibration": {}, **content}, "calibration"
            ),  # Older files have none.
            int8=Int8.from_plain(content["int8"]) if content.get("int8") else None,
            data=_typed(content, "data", dict),
            training=_typed(content, "training", dict),
            versions=_all(content, "versions", dict, str),
            sha256=sha256,
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise PickleCorruptError(
            f"{path} isn't a complete model: {type(error).__name__}: {error!s:.300}."
        ) from None
    if not release.labels or not set(release.trained_labels) <= set(release.labels):
        raise PickleCorruptError(
            f"{path} isn't a complete model: its labels contradict one another."
        )
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
    if not all(
        type(figure) in (int, float) and math.isfinite(figure) for figure in figures.values()
    ):
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
