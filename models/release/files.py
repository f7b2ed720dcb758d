"""The model file, format version 1: a pickled dict of plain values, with its digest in a `.sha256`
file beside it.

Another model may replace the file while programs read it. Two files cannot be replaced in one step,
so the digests of both models are recorded meanwhile: whichever pickle a reader meets is verified.
If both files are replaced while it reads, it reads again.

A pickle is untrusted until it is checked. The digest is checked first, over the same bytes that are
then parsed. `safe_pickle` reads them without executing anything: it admits plain values only, so
arrays are stored as shape and bytes. Then every field is checked.
"""

import hashlib
import math
import pickle
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.atomic import write_atomically
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
MAX_DIGESTS: Final = 10_000
"""Characters of the file beside a pickle that are read."""

_MODE: Final = 0o644


def digest_file(path: Path) -> Path:
    """The file beside a pickle that holds its digest, in the format of `sha256sum --check`."""
    return path.with_name(path.name + ".sha256")


def save_release(release: Release, path: Path) -> str:
    """Writes the pickle and its digest; readers see the old model or the new one at any moment.

    Returns:
        The digest.
    """
    raw = pickle.dumps(_without_sharing(_to_plain(release)), protocol=4)
    sha256 = hashlib.sha256(raw).hexdigest()

    path.parent.mkdir(parents=True, exist_ok=True)
    earlier: tuple[str, ...] = ()
    with suppress(PickleMissingError):
        earlier = recorded_digests(path)

    _write_digests(path, *dict.fromkeys((*earlier, sha256)))
    write_atomically(path, raw, _MODE)
    _write_digests(path, sha256)
    return sha256


def _write_digests(path: Path, *digests: str) -> None:
    lines = "".join(f"{sha256}  {path.name}\n" for sha256 in digests)
    write_atomically(digest_file(path), lines.encode(), _MODE)


def _to_plain(release: Release) -> dict[str, Any]:
    weights = {
        name: {"shape": list(array.shape), "float32": np.ascontiguousarray(array, "<f4").tobytes()}
        for name, array in release.weights.items()
    }

    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "name": release.name,
        "labels": list(release.labels),
        "trained_labels": list(release.trained_labels),
        "preprocessing": release.preprocessing.to_plain(),
        "network": release.network,
        "weights": weights,
        "keras_config": release.keras_config,
        "metrics": dict(release.metrics),
        "calibration": dict(release.calibration),
        "int8": release.int8.to_plain() if release.int8 else None,
        "data": dict(release.data),
        "training": dict(release.training),
        "versions": dict(release.versions),
    }


def _without_sharing(value: Any) -> Any:
    """The same value, with new containers and interned strings.

    A pickle stores an object once and then refers back to it. Its bytes would depend on which equal
    strings happen to be one object, and repeating a training run would give another digest.
    """
    if isinstance(value, dict):
        return {_without_sharing(key): _without_sharing(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_sharing(inner) for inner in value]
    return sys.intern(value) if type(value) is str else value


def load_release(path: Path, sha256: str | None = None) -> Release:
    """Loads a pickle without executing any of it.

    Args:
        sha256: of the model that is wanted; None = whichever the file holds.

    Raises:
        PickleMissingError: the pickle or its digest is missing, or the file holds another model.
        PickleTamperedError: the digest does not match: the file was changed or truncated.
        PickleHostileError: the pickle asks for code to run.
        PickleVersionError: this program does not know the format version.
        PickleCorruptError: the file is not a pickle, or not a Cuemill model.
    """
    raw, actual = _read_verified(path)
    if sha256 is not None and sha256 != actual:
        raise PickleMissingError(
            f"{path} holds another model by now: its SHA-256 is {actual[:12]}..., expected "
            f"{sha256[:12]}.... Copy the earlier one back to this place."
        )
    return _check(path, _parse(path, raw), actual)


def _read_verified(path: Path) -> tuple[bytes, str]:
    """The bytes of a pickle, and their digest, which is recorded beside it."""
    recorded = recorded_digests(path)
    while True:
        raw = _read(path)
        actual = hashlib.sha256(raw).hexdigest()
        if actual in recorded:
            return raw, actual

        earlier, recorded = recorded, recorded_digests(path)
        if recorded == earlier:
            raise PickleTamperedError(
                f"{path} was changed or truncated: its SHA-256 is {actual[:12]}..., expected "
                f"{recorded[0][:12]}.... Fetch the model again. "
                "Do not load a file whose origin you cannot trace."
            )


def recorded_digests(path: Path) -> tuple[str, ...]:
    """Reads the digest in the file beside a pickle; two while another model replaces it.

    Raises:
        PickleMissingError: the pickle or the digest is missing.
    """
    if not path.is_file():
        raise PickleMissingError(
            f"No model at {path}. Train one with `cuemill train`, or set CUEMILL_MODEL."
        )

    try:
        with digest_file(path).open() as file:
            lines = file.read(MAX_DIGESTS).splitlines()
    except (OSError, UnicodeDecodeError):
        lines = []

    digests = tuple(line.split()[0] for line in lines if line.strip())
    if not digests:
        raise PickleMissingError(
            f"{digest_file(path)} is missing or empty, so {path.name} cannot be verified. "
            "Copy the .sha256 file along with the model."
        )
    return digests


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise PickleMissingError(f"{path} cannot be read: {error.strerror}.") from None

    if len(raw) > MAX_BYTES:
        raise PickleCorruptError(
            f"{path} is larger than {MAX_BYTES:,} bytes, the limit for a Cuemill model."
        )
    return raw


def _parse(path: Path, raw: bytes) -> dict[str, Any]:
    try:
        content = safe_pickle.loads(raw)
    except PickleHostileError as error:
        raise PickleHostileError(f"{path} is refused: {error}.") from None
    except Exception as error:  # The unpickler raises nearly anything on broken bytes.
        reason = f"{type(error).__name__}: {error!s:.300}"
        raise PickleCorruptError(f"{path} is not a valid pickle: {reason}.") from None

    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise PickleCorruptError(f"{path} is a pickle, but not a Cuemill model.")
    if content.get("format_version") != FORMAT_VERSION:
        raise PickleVersionError(
            f"{path} has format version {content.get('format_version')!r:.40}, but this program "
            f"reads version {FORMAT_VERSION}. Install the Cuemill version that wrote it, "
            "or export the model again."
        )
    return content


def _check(path: Path, content: dict[str, Any], sha256: str) -> Release:
    # Older files have no calibration.
    content = {"calibration": {}, **content}

    try:
        weights = _typed(content, "weights", dict)
        release = Release(
            name=_typed(content, "name", str),
            labels=tuple(_typed_items(content, "labels", list, str)),
            trained_labels=tuple(_typed_items(content, "trained_labels", list, str)),
            preprocessing=Preprocessing.from_plain(content["preprocessing"]),
            network=_typed_items(content, "network", list, dict),
            weights={name: _to_array(entry) for name, entry in weights.items()},
            keras_config=_typed(content, "keras_config", str),
            metrics=_finite_numbers(content, "metrics"),
            calibration=_finite_numbers(content, "calibration"),
            int8=Int8.from_plain(content["int8"]) if content.get("int8") else None,
            data=_typed(content, "data", dict),
            training=_typed(content, "training", dict),
            versions=_typed_items(content, "versions", dict, str),
            sha256=sha256,
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        reason = f"{type(error).__name__}: {error!s:.300}"
        raise PickleCorruptError(f"{path} is not a complete model: {reason}.") from None

    if not release.labels:
        raise PickleCorruptError(f"{path} is not a complete model: it has no labels.")
    if not set(release.trained_labels) <= set(release.labels):
        raise PickleCorruptError(
            f"{path} is not a complete model: its trained labels are not among its labels."
        )
    if not all(np.isfinite(array).all() for array in release.weights.values()):
        raise PickleCorruptError(f"{path} has weights that are not finite numbers.")
    return release


def _to_array(entry: Mapping[str, Any]) -> NDArray[np.float32]:
    shape = _typed_items(entry, "shape", list, int)
    data = _typed(entry, "float32", bytes)
    if min(shape, default=0) < 0 or 4 * math.prod(shape) != len(data):
        raise ValueError(f"a weight's data does not fit its shape, {shape!s:.80}")
    return np.frombuffer(data, "<f4").reshape(shape)


def _finite_numbers(content: Mapping[str, Any], key: str) -> dict[str, float]:
    numbers: dict[str, float] = _typed(content, key, dict)
    for number in numbers.values():
        if type(number) not in (int, float) or not math.isfinite(number):
            raise TypeError(f"{key} holds values that are not finite numbers")
    return numbers


def _typed_items(content: Mapping[str, Any], key: str, kind: type[T], item_kind: type) -> T:
    """Like `_typed`, for a list or dict whose items are of one type as well."""
    items: Any = _typed(content, key, kind)
    values = items.values() if isinstance(items, dict) else items
    if not all(type(value) is item_kind for value in values):
        raise TypeError(f"{key} holds values that are not of type {item_kind.__name__}")
    return items  # type: ignore[no-any-return]


def _typed(content: Mapping[str, Any], key: str, kind: type[T]) -> T:
    value = content[key]
    if not isinstance(value, kind):
        raise TypeError(f"{key} is a {type(value).__name__}, expected a {kind.__name__}")
    return value
