"""Roots: which folders may be read."""

import os
from pathlib import Path

import pytest

from models.errors import FolderError, OutsideRootsError
from models.sources.roots import check_folder
from tests.builders import touch


def test_a_folder_must_exist_and_be_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    with pytest.raises(FolderError, match="does not exist"):
        check_folder(tmp_path / "absent")
    with pytest.raises(FolderError, match="is a file, not a folder"):
        check_folder(tmp_path / "a.jpg")


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, another_user: None) -> None:
    tmp_path.chmod(0)
    with pytest.raises(FolderError, match="cannot be read by this user"):
        check_folder(tmp_path)
    tmp_path.chmod(0o700)


def test_a_folder_outside_the_roots_is_refused_without_telling_whether_it_exists(
    tmp_path: Path,
) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (inside / "escape").symlink_to(outside)
    assert check_folder(inside, [inside]) == os.fsencode(inside)
    for folder in (
        outside,
        tmp_path / "absent",
        inside / "escape",
        inside / ".." / "outside",
        tmp_path / "inside2",
    ):
        with pytest.raises(OutsideRootsError, match="CUEMILL_IMAGE_ROOTS"):
            check_folder(folder, [inside])
    with pytest.raises(OutsideRootsError, match="none"):
        check_folder(inside, [])
