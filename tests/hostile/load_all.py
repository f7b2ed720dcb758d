"""A program that loads hostile pickles in limited memory and CPU time, in a folder of its own.

It prints JSON: name -> [the error's class, its text], or null for a pickle that was loaded. Its
argument chooses the loader: `pickle` loads the gadgets with `pickle`, to prove that they work;
`release` is `load_release`; `keras` is the import of pickled Keras models.
"""

import hashlib
import json
import os
import pickle
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from models.errors import EngineError, PickleError
from models.release.files import digest_file, load_release, save_release
from models.release.release import Release
from tests.hostile import pickles as hostile

MEMORY_BYTES = 1 << 30

KERAS_MEMORY_BYTES = 2 << 30
"""Beside Keras and the file: twice the unpacked content, which may have 512 MB."""

CPU_S = 60
MUTANTS = 1000
KERAS_MUTANTS = 80

Outcomes = dict[str, list[str] | None]


def run_gadgets() -> Outcomes:
    """The files that each gadget leaves behind when `pickle` loads it."""
    files: Outcomes = {}
    for name, raw in hostile.gadgets().items():
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            with suppress(Exception):
                pickle.loads(raw)
            files[name] = os.listdir(folder)
            os.chdir("/")
    return files


def release_pickles() -> Iterator[tuple[str, bytes]]:
    yield "sound", hostile.sound()
    yield from hostile.mutated(MUTANTS)
    yield from hostile.bombs().items()
    for name, raw in hostile.gadgets().items():
        yield name, raw
        yield f"{name} in a release", hostile.in_a_release(raw)


def load_as_release(path: Path) -> None:
    """Loads a release, which must also survive being saved and loaded again."""
    digest_file(path).write_text(hashlib.sha256(path.read_bytes()).hexdigest())
    release = load_release(path)
    copy = path.with_name("copy.pkl")
    save_release(release, copy)
    if _comparable(load_release(copy)) != _comparable(release):
        raise ValueError("The saved copy is not equal to the release.")


def _comparable(release: Release) -> Release:
    weights: Any = {name: array.tobytes() for name, array in release.weights.items()}
    return replace(release, sha256="", weights=weights)


def keras_pickles() -> Iterator[tuple[str, bytes]]:
    yield from hostile.keras_mutated(KERAS_MUTANTS)
    yield from hostile.bombs().items()
    yield from hostile.keras_bombs().items()
    yield from hostile.gadgets().items()


def load_all(pickles: Iterator[tuple[str, bytes]], load: Callable[[Path], Any]) -> Outcomes:
    outcomes: Outcomes = {}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as working_folder:
        os.chdir(working_folder)
        path = Path(folder) / "hostile.pkl"
        for name, raw in pickles:
            path.write_bytes(raw)
            try:
                load(path)
            except (PickleError, EngineError) as error:
                outcomes[name] = [type(error).__name__, str(error)]
            else:
                outcomes[name] = None
            if os.listdir(working_folder):
                raise RuntimeError(f"{name} was executed.")
    return outcomes


def main(loader: str) -> None:
    if loader == "pickle":
        outcomes = run_gadgets()
    elif loader == "release":
        limit_resources(MEMORY_BYTES)
        outcomes = load_all(release_pickles(), load_as_release)
    else:
        from trainer.keras_import.read import import_keras

        limit_resources(KERAS_MEMORY_BYTES)
        outcomes = load_all(keras_pickles(), import_keras)
    json.dump(outcomes, sys.stdout)


def limit_resources(memory_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))


if __name__ == "__main__":
    main(sys.argv[1])
