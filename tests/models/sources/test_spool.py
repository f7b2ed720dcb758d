"""Files that arrive: whole in their place, or not at all."""

import os
from pathlib import Path

import pytest

from models.errors import SpoolError, UsageError
from models.sources import spool
from models.sources.spool import Budget, Limits, Part

LIMITS = Limits(files=10, file_bytes=100, bytes=1000, ratio=10)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    spool.create(tmp_path / "upload")
    return tmp_path / "upload"


def put(folder: Path, name: str) -> None:
    part = Part(folder, name.encode(), Budget(LIMITS))
    try:
        part.write(b"x")
        part.finish()
    finally:
        part.discard()


def test_a_file_is_flushed_before_it_is_in_its_place(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed = []

    def fsync(descriptor: int) -> None:
        flushed.append(os.path.exists(folder / "files/a.jpg"))

    monkeypatch.setattr(os, "fsync", fsync)
    part = Part(folder, b"a.jpg", Budget(LIMITS))
    part.write(b"x")
    assert not os.path.exists(folder / "files/a.jpg")
    part.finish()
    assert flushed == [False]
    assert (folder / "files/a.jpg").read_bytes() == b"x"


def test_a_second_file_of_a_name_is_refused(folder: Path) -> None:
    put(folder, "a/b.jpg")
    with pytest.raises(UsageError, match=r"two files of the name a/b\.jpg"):
        put(folder, "a//./b.jpg")
    assert os.listdir(folder / "parts") == []


def test_names_that_differ_in_capitals_are_two_files_unless_the_file_system_takes_them_for_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder, "a.jpg")
    put(folder, "A.jpg")
    assert sorted(os.listdir(folder / "files")) == ["A.jpg", "a.jpg"]

    # As on a share of Windows or a Mac's disk.
    lexists = os.path.lexists
    monkeypatch.setattr(os.path, "lexists", lambda path: lexists(path.lower()))
    with pytest.raises(UsageError, match="but for capitals"):
        put(folder, "a.JPG")


def test_nothing_is_written_into_an_upload_that_was_removed(folder: Path) -> None:
    part = Part(folder, b"a/b.jpg", Budget(LIMITS))
    assert spool.remove(folder, until=float("inf"))
    with pytest.raises(SpoolError):
        part.finish()
    assert not folder.exists()


def test_a_link_in_an_upload_is_removed_and_not_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/a.jpg").touch()
    (folder / "files/link").symlink_to(tmp_path / "mine")
    assert spool.remove(folder, until=float("inf"))
    assert os.listdir(tmp_path / "mine") == ["a.jpg"]
