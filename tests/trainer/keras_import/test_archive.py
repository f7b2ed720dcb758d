"""The archive: anything unexpected in it is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from models.errors import (
    EngineError,
    PickleCorruptError,
)
from tests.trainer.keras_import.pickles import repacked
from trainer.keras_import.read import import_keras


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.update({"../../evil.py": b"1"}), r"its archive holds '\.\./\.\./evil\.py'"),
        (lambda f: f.pop("metadata.json"), "its archive has 2 files; expected 3"),
        (lambda f: f.update({"config.json": b"{"}), "its archive is broken: JSONDecodeError"),
        (
            lambda f: f.update({"config.json": b"[" * 100_000}),
            "its archive is broken: RecursionError",
        ),
        (lambda f: f.update({"config.json": b"[]"}), "its config or metadata is not a JSON object"),
        (
            lambda f: f.update({"variables.h5": b"\x89HDF\r\n\x1a\n" + bytes(500)}),
            "its archive is broken: ",
        ),
    ],
)
def test_an_archive_with_anything_unexpected_is_refused(
    tmp_path: Path, change: Callable[[dict[str, bytes]], object], said: str
) -> None:
    (tmp_path / "model.pkl").write_bytes(repacked(change))
    with pytest.raises((PickleCorruptError, EngineError), match=said):
        import_keras(tmp_path / "model.pkl")


def test_an_entry_larger_than_declared_is_read_no_further(tmp_path: Path) -> None:
    """The central directory's size counts; the truncated data then fails its checksum."""
    raw = bytearray(repacked(lambda files: files.update({"metadata.json": b" " * 1_000_000})))
    directory = raw.rindex(b"PK\x01\x02", 0, raw.rindex(b"metadata.json"))
    raw[directory + 24 : directory + 28] = (100).to_bytes(4, "little")
    (tmp_path / "model.pkl").write_bytes(raw)
    with pytest.raises(PickleCorruptError, match="its archive is broken"):
        import_keras(tmp_path / "model.pkl")
