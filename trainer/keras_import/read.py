"""Importing Keras models as data. Nothing in the file is executed or even looked up.

A `.keras` file is a zip archive of `config.json`, which describes the layers, and an HDF5 file with
their weights; a `.h5` file has both in one. A Keras model's pickle calls one of two Keras functions
on the bytes of such an archive. The import

* walks the pickle's opcodes, which must be exactly that call (`stream`);
* reads the archive (`archive`) and the weights, whose shapes must match the layers (`weights`);
* makes a flat list of known layers from the config, those of networks inside others in their place
  (`config`), and builds a new network of it, with known options only (`network`).

Supported are pickles of Keras 2.11 (including archives written on Windows, whose names contain
backslashes), 2.12 and 3, dumped by pickle or by joblib, uncompressed or compressed (`compression`),
and `.keras` and `.h5` files of Keras 3.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from models.errors import PickleCorruptError, PickleHostileError, PickleMissingError
from models.labels import EMOTIONS
from models.pictures.preprocessing import Preprocessing
from models.release.files import MAX_BYTES
from models.release.release import Release
from trainer.export import export
from trainer.keras_import.archive import Archive, open_archive, open_hdf5
from trainer.keras_import.compression import inflate
from trainer.keras_import.errors import RefusedError
from trainer.keras_import.labels import parse_labels
from trainer.keras_import.network import build_network
from trainer.keras_import.stream import extract_archive


def import_keras(path: Path, labels: Sequence[str] = ()) -> Release:
    """Rebuilds a Keras model as a release.

    Images are taken as B, G, R, as in the reference, or as grey if the network has one channel.
    They are scaled as a Rescaling layer at the input says, or else to [-1, 1]. Metrics are unknown
    and stay empty; `data` records where the release came from.

    Args:
        labels: the network's, in its order, such as `angry`; the file does not say. Empty = its 28
            scores are those of `EMOTIONS`, in order, and which it was trained on is unknown.

    Raises:
        PickleMissingError: there is no such file.
        PickleHostileError: the pickle does anything but the one call.
        PickleCorruptError: the file is broken, or its network cannot be rebuilt.
        EngineError: no engine can run the network.
    """
    if not path.is_file():
        raise PickleMissingError(f"No file at {path}.")
    if path.stat().st_size > MAX_BYTES:
        raise PickleCorruptError(f"{path} is larger than {MAX_BYTES:,} bytes.")

    raw = path.read_bytes()
    try:
        archive = _open(raw)
        indices = parse_labels(labels)
        network = build_network(archive, indices)
    except RefusedError as error:
        raise PickleCorruptError(f"{path} is refused: {error!s:.500}.") from error
    except PickleHostileError as error:
        raise PickleHostileError(f"{path} is refused: {error!s:.500}.") from error

    model = network.model
    if model.output_shape != (None, len(EMOTIONS)):
        raise PickleCorruptError(
            f"{path} has outputs of shape {model.output_shape}; expected {len(EMOTIONS)} scores "
            "per image."
        )

    _, height, width, _ = model.input_shape
    preprocessing = Preprocessing(
        height=height,
        width=width,
        channel_order="grey" if network.is_grey else "bgr",
        antialias=False,
    )
    if network.scaling is not None:
        scale, offset = network.scaling
        preprocessing = replace(preprocessing, scale=scale, offset=offset)

    origin = {
        "file": path.name,
        "sha256": hashlib.sha256(raw).hexdigest(),
        "keras": archive.keras_version,
    }
    return export(
        model,
        path.stem.split(".")[0].removesuffix("_trained"),
        preprocessing,
        trained_labels=tuple(EMOTIONS[index] for index in sorted(indices)),
        metrics={},
        data={"imported": origin},
        training={},
    )


def _open(raw: bytes) -> Archive:
    """The model in a `.keras` file, a `.h5` file or a pickle; the content says which it is."""
    if raw.startswith(b"PK"):
        return open_archive(raw)
    if raw.startswith(b"\x89HDF"):
        return open_hdf5(raw)
    return open_archive(extract_archive(inflate(raw)))
