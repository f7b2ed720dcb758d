"""Names as bytes, the walk, and files that are not what they seem."""

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import FolderError, ImageError, OutsideRootsError
from models.sources import walk as paths
from models.sources.names import to_bytes, to_text
from models.sources.read import read_image
from models.sources.roots import check_folder
from models.sources.walk import walk

NAMES = st.binary(min_size=1, max_size=20).filter(
    lambda name: b"\0" not in name and b"/" not in name
)


@given(NAMES)
def test_any_name_becomes_text_that_a_database_takes_and_back(name: bytes) -> None:
    text = to_text(name)
    text.encode("utf-8")
    assert to_bytes(text) == name


def test_names_that_are_utf_8_are_left_readable() -> None:
    assert to_text("Gesichter/Bär 1.jpg".encode()) == "Gesichter/Bär 1.jpg"
    assert to_text(b"caf\xe9.jpg") == "caf\\xe9.jpg"


@pytest.fixture
def another_user(tmp_path: Path) -> Iterator[None]:
    """Permissions don't bind root, so for root the test acts as another user."""
    if os.geteuid() != 0:
        yield
        return
    for folder in [tmp_path, *tmp_path.parents]:
        if folder == Path(tempfile.gettempdir()):
            break
        folder.chmod(0o755)  # How many there are depends on whether files are tested two at a time.
    os.chown(tmp_path, 65534, 65534)
    os.seteuid(65534)
    yield
    os.seteuid(0)


def touch(root: Path, *names: str) -> bytes:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return os.fsencode(root)


def test_the_walk_gives_images_sorted_and_goes_into_subfolders(tmp_path: Path) -> None:
    root = touch(
        tmp_path, "b.JPG", "a/z.png", "a/b/c.webp", "notes.txt", ".hidden.jpg", "a.jpg", "c.tiff"
    )
    assert list(walk(root, True)) == [b"a/b/c.webp", b"a/z.png", b"a.jpg", b"b.JPG", b"c.tiff"]
    assert list(walk(root, False)) == [b"a.jpg", b"b.JPG", b"c.tiff"]


@given(
    st.lists(
        st.lists(st.sampled_from(["a", "b", "a.", "ab", "é"]), min_size=1, max_size=4), max_size=12
    )
)
def test_a_walk_goes_on_behind_any_path_it_gave(trees: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = touch(
            Path(folder), *("/".join(f"d{part}" for part in tree) + ".jpg" for tree in trees)
        )
        paths = list(walk(root, True))
        for i, path in enumerate(paths):
            assert list(walk(root, True, after=path)) == paths[i + 1 :]


NAMES_IN_A_TREE = st.sampled_from([b"a", b"b", b"a.", b"ab", b"a-", "é".encode(), b"\xff"])


@given(
    st.lists(st.lists(NAMES_IN_A_TREE, min_size=1, max_size=4), max_size=16),
    st.integers(1, 4),
    st.integers(1, 4),
)
def test_a_folder_listed_a_few_names_at_a_time_is_walked_in_the_same_order_from_any_path(
    trees: list[list[bytes]], at_a_time: int, chunk: int
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "PASS", at_a_time)
        patch.setattr(paths, "CHUNK", chunk)
        files = {b"/".join(b"d" + part for part in tree) + b".jpg" for tree in trees}
        root = touch(
            Path(folder), *(os.fsdecode(file) for file in files), "notes.txt", ".hidden.jpg"
        )
        expected = sorted(files, key=lambda file: file.split(b"/"))
        assert list(walk(root, True)) == expected
        assert list(walk(root, False)) == [file for file in expected if b"/" not in file]
        for i, path in enumerate(expected):
            assert list(walk(root, True, after=path)) == expected[i + 1 :]


def test_a_folder_that_changes_while_it_is_walked_gives_each_path_once_and_all_that_stayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "PASS", 3)
    stay = [f"{i:02}.jpg" for i in range(0, 40, 2)]
    root = touch(tmp_path, *stay, "33.jpg")
    found = walk(root, True)
    given_already = [next(found) for _ in range(5)]
    touch(tmp_path, "01.jpg", "31.jpg")
    (tmp_path / "33.jpg").unlink()
    given_later = list(found)
    assert given_already + given_later == sorted([*map(os.fsencode, stay), b"31.jpg"])


def test_folders_nested_as_deep_as_a_path_can_be_are_walked(tmp_path: Path) -> None:
    deepest = tmp_path
    for _ in range(1500):
        deepest /= "d"
        deepest.mkdir()
    (deepest / "a.jpg").touch()
    try:
        assert list(walk(os.fsencode(tmp_path), True)) == [b"d/" * 1500 + b"a.jpg"]
    finally:  # Deeper than what removes temporary folders can go.
        (deepest / "a.jpg").unlink()
        os.removedirs(deepest)


def test_a_folder_whose_outcome_was_that_it_cannot_be_listed_is_not_gone_into_later(
    tmp_path: Path,
) -> None:
    root = touch(tmp_path, "a.jpg", "open_by_now/b.jpg", "z.jpg")
    assert list(walk(root, True, after=b"open_by_now")) == [b"z.jpg"]


def test_a_walk_goes_on_behind_a_path_that_is_gone(tmp_path: Path) -> None:
    root = touch(tmp_path, "a.jpg", "c.jpg", "d/e.jpg")
    assert list(walk(root, True, after=b"b.jpg")) == [b"c.jpg", b"d/e.jpg"]


def test_links_to_folders_are_named_but_not_followed(tmp_path: Path) -> None:
    root = touch(tmp_path, "real/a.jpg")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    (tmp_path / "up.jpg").symlink_to(tmp_path / "real")
    assert list(walk(root, True)) == [b"loop", b"real/a.jpg", b"self", b"up.jpg"]


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="gone"):
        list(walk(os.fsencode(tmp_path / "gone"), True))


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
        found = {
            name: code_of(root, name) for name in sorted(os.listdir(root)) if name != "fine.jpg"
        }
    assert found == {
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


def test_a_folder_must_exist_and_be_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    with pytest.raises(FolderError, match="doesn't exist"):
        check_folder(tmp_path / "absent")
    with pytest.raises(FolderError, match="is a file, not a folder"):
        check_folder(tmp_path / "a.jpg")


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, another_user: None) -> None:
    tmp_path.chmod(0)
    with pytest.raises(FolderError, match="can't be read by this user"):
        check_folder(tmp_path)
    tmp_path.chmod(0o700)


def test_what_may_not_be_read_within_a_folder_is_named(tmp_path: Path, another_user: None) -> None:
    root = touch(tmp_path, "a.jpg", "closed/b.jpg", "z.jpg")
    (tmp_path / "a.jpg").chmod(0)
    (tmp_path / "closed").chmod(0)
    assert list(walk(root, True)) == [b"a.jpg", b"closed", b"z.jpg"]
    assert (code_of(tmp_path, "a.jpg"), code_of(tmp_path, "closed")) == (
        "permission_denied",
        "folder_unreadable",
    )
    (tmp_path / "closed").chmod(0o700)


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
