"""What is in a folder, for people who look for theirs."""

from pathlib import Path

import pytest

from models.errors import FolderError
from models.sources import contents
from models.sources.contents import Contents, read_contents
from tests.builders import touch


def test_subfolders_and_images_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = touch(tmp_path, "b/x.jpg", "A/y.jpg", "1.jpg", "2.txt", ".hidden/z.jpg", ".3.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "b")
    (Path(bytes(root).decode()) / "\udcff").mkdir()
    assert read_contents(root) == Contents(["A", "b"], 1, is_whole=True)

    monkeypatch.setattr(contents, "MAX_ENTRIES", 2)
    assert not read_contents(root).is_whole


def test_a_folder_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="gone cannot be read"):
        read_contents(bytes(tmp_path / "gone"))
