"""The attributes of a `.h5` file, read in a process of its own.

The HDF5 library may crash on attributes of a damaged file, which then ends only that process.
"""

import io
import json
import subprocess
import sys
from typing import Any, Final

import h5py

from trainer.keras_import.errors import RefusedError

TIMEOUT_S: Final = 60


def read_attributes(content: bytes) -> dict[str, Any]:
    """The texts `config` and `version` of the file, and `names`: each layer's weights' paths.

    Raises:
        RefusedError: they cannot be read.
    """
    command = [sys.executable, "-P", "-m", __name__]
    try:
        done = subprocess.run(  # noqa: S603 - the command is fixed.
            command, input=content, capture_output=True, timeout=TIMEOUT_S, check=False
        )
        attributes = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError) as error:
        raise RefusedError("it is broken: its attributes cannot be read") from error
    return dict(attributes)


def _read(content: bytes) -> dict[str, Any]:
    with h5py.File(io.BytesIO(content), "r") as file:
        config = file.attrs.get("model_config")
        version = file.attrs.get("keras_version", "")
        names: dict[str, list[str]] = {}
        if isinstance(file.get("model_weights", getlink=True), h5py.HardLink):
            weights = file["model_weights"]
            for name in weights:
                if isinstance(weights.get(name, getlink=True), h5py.HardLink):
                    paths = weights[name].attrs.get("weight_names", ())
                    names[name] = [_to_text(path) for path in paths]
    return {
        "config": None if config is None else _to_text(config),
        "version": _to_text(version),
        "names": names,
    }


def _to_text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


if __name__ == "__main__":
    json.dump(_read(sys.stdin.buffer.read()), sys.stdout)
