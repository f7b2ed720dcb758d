"""A program: loads hostile pickles in bounded memory and time, in a folder of its own, and says what came of each.

It prints JSON: name -> [the error's class, its text], or null where a release came out. Its argument says which:
`run` loads the gadgets by `pickle`, to prove that they work; `ours` is `models.load_release`; `wild` is the import.
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
from itertools import chain
from pathlib import Path
from typing import Any

from models.errors import EngineError, PickleError
from models.release.files import load_release, save_release
from models.release.release import Release
from tests.hostile import pickles as hostile

MEMORY = 1 << 30
MEMORY_WILD = 2 << 30  # Besides the file, twice what it unpacks to, which may be 512 MB; and Keras.
SECONDS = 60
MUTANTS = 1000
WILD_MUTANTS = 80


def run() -> dict[str, list[str] | None]:
    found: dict[str, list[str] | None] = {}
    for name, raw in hostile.gadgets().items():
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            with suppress(Exception):
                pickle.loads(raw)
            found[name] = os.listdir(folder)
            os.chdir("/")
    return found


def ours() -> Iterator[tuple[str, bytes]]:
    yield "sound", hostile.sound()
    yield from hostile.mutated(MUTANTS)
    yield from hostile.bombs().items()
    for name, raw in hostile.gadgets().items():
        yield name, raw
        yield f"{name} in a release", hostile.in_a_release(raw)


def load_ours(path: Path) -> None:
    """A release that comes out must be one that can be saved and comes back the same."""
    release = load_release(path, hashlib.sha256(path.read_bytes()).hexdigest())
    again = path.with_name("again.pkl")
    save_release(release, again)
    if _plain(load_release(again)) != _plain(release):
        raise ValueError("it came back as another")


def _plain(release: Release) -> Release:
    weights: Any = {name: array.tobytes() for name, array in release.weights.items()}
    return replace(release, sha256="", weights=weights)


def wild() -> Iterator[tuple[str, bytes]]:
    yield from chain(
        hostile.wild_mutated(WILD_MUTANTS), hostile.bombs().items(), hostile.wild_bombs().items()
    )
    yield from hostile.gadgets().items()


def refuse_all(
    raws: Iterator[tuple[str, bytes]], load: Callable[[Path], Any]
) -> dict[str, list[str] | None]:
    found: dict[str, list[str] | None] = {}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as present:
        os.chdir(present)
        path = Path(folder) / "hostile.pkl"
        for name, raw in raws:
            path.write_bytes(raw)
            try:
                load(path)
            except (PickleError, EngineError) as error:
                found[name] = [type(error).__name__, str(error)]
            else:
                found[name] = None
            if os.listdir(present):
                raise RuntimeError(f"{name} was executed")
    return found


def main(which: str) -> None:
    if which == "run":
        found = run()
    elif which == "ours":
        limit(MEMORY)
        found = refuse_all(ours(), load_ours)
    else:
        from trainer.keras_import.read import import_keras

        limit(MEMORY_WILD)
        found = refuse_all(wild(), import_keras)
    json.dump(found, sys.stdout)


def limit(memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


if __name__ == "__main__":
    main(sys.argv[1])
