"""Untrusted pickles: none of their code runs, and only plain values of a sane size come out."""

import hashlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.errors import PickleHostileError
from models.release import safe_pickle
from models.release.files import digest_file, load_release


def test_plain_values_are_loaded() -> None:
    content = {"text": "a", "numbers": [1, 2.5, True, None], "bytes": b"x", "inner": {"k": []}}
    assert safe_pickle.loads(pickle.dumps(content)) == content


class Touch:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_hostile_pickle_runs_nothing(tmp_path: Path, protocol: int) -> None:
    path, witness = tmp_path / "hostile.pkl", tmp_path / "witness"
    raw = pickle.dumps({"format": "cuemill", "format_version": 1, "name": Touch(witness)}, protocol)
    path.write_bytes(raw)
    digest_file(path).write_text(hashlib.sha256(raw).hexdigest())
    with pytest.raises(PickleHostileError, match=r"refused: it asks for .*plain values"):
        load_release(path)
    assert not witness.exists()
    pickle.loads(raw)
    assert witness.exists()  # It would have.


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def holding_itself() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def doubling(levels: int) -> list[Any]:
    """A few lists that amount to 2 ** levels values."""
    value: list[Any] = [0]
    for _ in range(levels):
        value = [value, value]
    return value


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (nested(40), "nested deeper than 32 levels"),
        (holding_itself(), "nested deeper than 32 levels"),
        (doubling(25), "holds more than 100,000 values"),
        ([0] * 100_001, "has more than 100,000 opcodes"),
        ({1: "one"}, "has a key that is not a string"),
        ([2**64], "has an integer of more than 64 bits"),
        ((1, 2), "holds the opcode TUPLE2, which no Cuemill model uses"),
    ],
)
def test_what_no_model_contains_is_refused(content: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        safe_pickle.loads(pickle.dumps(content))
