"""Reading: files that are not what they seem are refused by a code."""

import os
import socket
from pathlib import Path

import pytest

from models.errors import ImageError
from models.sources.read import read_image
from tests.builders import touch


def code_of(root: Path, name: str) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(os.fsencode(root), os.fsencode(name))
    return caught.value.code


def test_files_that_are_not_what_they_seem_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    touch(root, "fine.jpg")
    outside = tmp_path / "secret.jpg"
    outside.write_bytes(b"secret")
    (root / "escape.jpg").symlink_to(outside)
    (root / "dangling.jpg").symlink_to("nothing")
    (root / "loop.jpg").symlink_to("loop.jpg")
    (root / "folder").symlink_to(tmp_path)
    os.mkfifo(root / "fifo.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "socket.jpg"))
        codes = {
            name: code_of(root, name) for name in sorted(os.listdir(root)) if name != "fine.jpg"
        }
    assert codes == {
        "dangling.jpg": "vanished",
        "escape.jpg": "outside_folder",
        "fifo.jpg": "not_a_file",
        "folder": "linked_folder",
        "loop.jpg": "link_loop",
        "socket.jpg": "not_a_file",
    }
    assert code_of(root, "../secret.jpg") == "outside_folder"
    assert code_of(root, "gone.jpg") == "vanished"


def test_a_link_within_the_folder_is_read(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    (tmp_path / "b.jpg").symlink_to("a.jpg")
    assert read_image(os.fsencode(tmp_path), b"b.jpg") == (b"x", None)


def test_a_file_is_read_with_its_size_and_time_of_change(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    data, status = read_image(os.fsencode(tmp_path), b"a.jpg")
    assert (data, status) == (b"x", (tmp_path / "a.jpg").stat())


def test_a_sparse_giant_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "giant.jpg", "wb") as file:
        file.truncate(4 << 30)
    assert code_of(tmp_path, "giant.jpg") == "too_large"


def test_what_may_not_be_read_within_a_folder_is_named(tmp_path: Path, another_user: None) -> None:
    touch(tmp_path, "a.jpg", "closed/b.jpg", "z.jpg")
    (tmp_path / "a.jpg").chmod(0)
    (tmp_path / "closed").chmod(0)
    assert (code_of(tmp_path, "a.jpg"), code_of(tmp_path, "closed")) == (
        "permission_denied",
        "folder_unreadable",
    )
    (tmp_path / "closed").chmod(0o700)
