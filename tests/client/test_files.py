"""Which files of a folder an upload sends."""

import os
from pathlib import Path

import pytest

from cuemill_client.files import SUFFIXES, SYSTEM_FOLDERS, list_files
from models.sources import exclusions, names
from tests.builders import touch


def test_pictures_are_sent_in_a_stable_order_and_nothing_else(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.PNG", "b/1.jpg", "a.heic", "notes.txt", ".hidden.jpg", "@eaDir/a.jpg")
    touch(tmp_path.parent / "elsewhere", "far.jpg")
    (tmp_path / "linked").symlink_to(tmp_path.parent / "elsewhere")
    (tmp_path / "linked.jpg").symlink_to(tmp_path / "a.heic")
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "absent")
    os.mkfifo(tmp_path / "pipe.jpg")

    files = list(list_files(tmp_path))
    assert [file.name for file in files] == ["a.heic", "linked.jpg", "b/1.jpg", "b/2.PNG"]
    assert [(file.path, file.bytes) for file in files[2:3]] == [(tmp_path / "b" / "1.jpg", 1)]


@pytest.mark.parametrize("name", ["absent", "file"])
def test_what_is_no_folder_is_an_error_at_once(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=name):
        list(list_files(tmp_path / name))


def test_the_endings_and_the_folders_are_those_of_a_server() -> None:
    assert set(SUFFIXES) == names.SUFFIXES | names.HEIC
    assert SYSTEM_FOLDERS == exclusions.SYSTEM_FOLDERS
