"""Paths as a user names them."""

from pathlib import Path

import pytest

from models.errors import UsageError
from models.sources import selection
from models.sources.selection import group_by_folder


def test_files_are_gathered_by_folder_and_folders_stay_whole(tmp_path: Path) -> None:
    for name in ("a/1.jpg", "a/2 é.jpg", "b/3.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()

    named = ["a/2 é.jpg", "b", "a/1.jpg", "gone", "b/3.jpg"]
    assert list(group_by_folder([tmp_path / name for name in named])) == [
        (tmp_path / "a", ["2 é.jpg", "1.jpg"]),
        (tmp_path / "b", None),
        (tmp_path / "gone", None),
        (tmp_path / "b", ["3.jpg"]),
    ]


def test_too_many_files_are_refused_by_their_folders_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "MAX_FILES", 1)
    for name in ("1.jpg", "2.jpg"):
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match=r"2 files of .* Name the folder instead"):
        list(group_by_folder(tmp_path.iterdir()))
