"""What a file of Keras' holds: the network's config, its weights and Keras' version.

It is a zip archive, in a pickle or as a `.keras` file, or one HDF5 file (`.h5`).
"""

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import h5py

from models.release.files import MAX_BYTES
from trainer.keras_import.attributes import read_attributes
from trainer.keras_import.errors import RefusedError

MAX_JSON_BYTES: Final = 10_000_000
"""As Python objects, JSON may need twenty times as much. 500 layers take 500 kB."""

ENTRIES: Final = ("metadata.json", "config.json", "variables.h5", "model.weights.h5")
"""The files an archive may hold; the weights have the first name in Keras 2, the second in 3."""


@dataclass(frozen=True)
class Archive:
    """The parsed archive; `weights` is open for reading, in memory.

    Attributes:
        names: of a `.h5` file, the paths of each layer's weights below its group, in Keras' order.
    """

    config: Mapping[str, Any]
    weights: h5py.File
    keras_version: str
    names: Mapping[str, list[str]] = field(default_factory=dict)


def open_archive(content: bytes) -> Archive:
    """Reads the archive in memory.

    Raises:
        RefusedError: it holds anything unexpected, or is broken or too large.
    """
    try:
        files = _read_entries(content)
        config = json.loads(files["config.json"])
        metadata = json.loads(files["metadata.json"])
        hdf5 = files.get("variables.h5") or files["model.weights.h5"]
        weights = h5py.File(io.BytesIO(hdf5), "r")
    except RefusedError:
        raise
    except Exception as error:  # The three parsers raise almost any exception on broken data.
        raise RefusedError(f"its archive is broken: {type(error).__name__}: {error}") from error

    if not isinstance(config, dict) or not isinstance(metadata, dict):
        raise RefusedError("its config or metadata is not a JSON object")
    return Archive(config, weights, str(metadata.get("keras_version", ""))[:20])


def open_hdf5(content: bytes) -> Archive:
    """Reads a `.h5` file in memory: a whole model, not its weights alone.

    Raises:
        RefusedError: it holds no model, or is broken or too large.
    """
    try:
        attributes = read_attributes(content)
        config = attributes["config"]
        weights = h5py.File(io.BytesIO(content), "r")
        if config is None:
            raise RefusedError("it holds weights alone, without the network that they belong to")
        if len(config) > MAX_JSON_BYTES:
            raise RefusedError(f"its model_config is larger than {MAX_JSON_BYTES:,} bytes")
        config = json.loads(config)
    except RefusedError:
        raise
    except Exception as error:  # HDF5 and JSON raise almost any exception on broken data.
        raise RefusedError(f"it is broken: {type(error).__name__}: {error}") from error

    if not isinstance(config, dict):
        raise RefusedError("its config is not a JSON object")
    return Archive(config, weights, attributes["version"][:20], attributes["names"])


def _read_entries(content: bytes) -> dict[str, bytes]:
    """The archive's files by name, each no larger than its entry declares."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
        _check_entries(entries)
        # Compressed data may expand to more than its entry declares; the rest is not read.
        return {entry.filename: archive.open(entry).read(entry.file_size) for entry in entries}


def _check_entries(entries: list[zipfile.ZipInfo]) -> None:
    for entry in entries:
        if entry.filename not in ENTRIES:
            raise RefusedError(
                f"its archive holds {entry.filename!r}; expected only {', '.join(ENTRIES)}"
            )
        if entry.filename.endswith(".json") and entry.file_size > MAX_JSON_BYTES:
            raise RefusedError(f"its {entry.filename} is larger than {MAX_JSON_BYTES:,} bytes")

    if len(entries) != 3:
        raise RefusedError(f"its archive has {len(entries)} files; expected 3")
    if sum(entry.file_size for entry in entries) > MAX_BYTES:
        raise RefusedError(f"its archive holds more than {MAX_BYTES:,} bytes")
