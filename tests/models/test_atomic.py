"""Atomic writing: whole or not at all, with nothing left behind."""

import os
from pathlib import Path

import pytest

from models.atomic import replacing, write_atomically


def disk_full(descriptor: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_file_is_created_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"first", b"second, longer", b""):
        write_atomically(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_content_stays_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_an_error_within_the_block_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def interrupted(temporary: Path) -> None:
        temporary.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        interrupted(temporary)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_folder_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_permissions_are_the_umasks_or_those_asked_for(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "by umask", b"")
        write_atomically(tmp_path / "asked for", b"", 0o644)
    finally:
        os.umask(before)
    assert (tmp_path / "by umask").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "asked for").stat().st_mode & 0o777 == 0o644


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    for path in (tmp_path, Path("."), Path("/")):
        with pytest.raises(IsADirectoryError):
            write_atomically(path, b"")
