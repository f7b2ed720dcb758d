"""Genuine and hostile pickles of Keras models."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py

from trainer.keras_import.stream import extract_archive

FIXTURES = Path(__file__).parent / "fixtures"
GENUINE = ["keras211", "windows211", "keras212", "keras3", "functional211", "functional212"]

MARK = "executed"
"""The file that a hostile pickle would leave behind."""


class Call:
    """A pickle that calls a function, even one that does not exist here."""

    def __init__(self, module: str, name: str, *arguments: Any) -> None:
        self._module, self._name, self._arguments = module, name, arguments

    def dump(self, protocol: int = 4) -> bytes:
        body = pickle.dumps(self._arguments, protocol)
        head = b"\x80" + bytes([protocol]) + f"c{self._module}\n{self._name}\n".encode()
        return head + body[2:-1] + b"R."  # Without the arguments' protocol and stop.


class Reduce:
    """An object whose pickle calls a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> Any:
        return self._call


def archive(name: str = "keras211") -> bytes:
    return extract_archive((FIXTURES / f"{name}.pkl").read_bytes())


def genuine() -> bytes:
    return (FIXTURES / "keras211.pkl").read_bytes()


# --- Changes to the archive of a genuine pickle ---


def repacked(change: Callable[[dict[str, bytes]], object], name: str = "keras211") -> bytes:
    """The genuine pickle with other files in its archive."""
    with zipfile.ZipFile(io.BytesIO(archive(name))) as opened:
        files = {entry: opened.read(entry) for entry in opened.namelist()}
    change(files)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as written:
        for entry, content in files.items():
            written.writestr(entry, content)
    return Call(
        "keras.saving.pickle_utils", "deserialize_model_from_bytecode", buffer.getvalue()
    ).dump()


def config(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, bytes]], None]:
    """A change to `config.json`."""

    def changed(files: dict[str, bytes]) -> None:
        values = json.loads(files["config.json"])
        change(values)
        files["config.json"] = json.dumps(values).encode()

    return changed


def layer(index: int, **values: Any) -> Callable[[dict[str, bytes]], None]:
    return config(lambda c: c["config"]["layers"][index].update(values))


def option(index: int, **values: Any) -> Callable[[dict[str, bytes]], None]:
    return config(lambda c: c["config"]["layers"][index]["config"].update(values))


def weights(change: Callable[[h5py.File], object]) -> Callable[[dict[str, bytes]], None]:
    """A change to the weights."""

    def changed(files: dict[str, bytes]) -> None:
        buffer = io.BytesIO(files["variables.h5"])
        with h5py.File(buffer, "a") as file:
            change(file)
        files["variables.h5"] = buffer.getvalue()

    return changed


KERNEL = "layers/conv2d/vars/0"


def put(file: h5py.File, name: str, make: Callable[[h5py.File], object]) -> None:
    """Replaces an array."""
    del file[name]
    make(file)
