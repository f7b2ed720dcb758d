"""Walking: every path that needs an outcome, once, in a stable order, from any point on."""

import errno
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import FolderError
from models.sources import walk as walk_module
from models.sources.exclusions import Exclusions
from models.sources.walk import Passing, walk
from tests.builders import touch


def test_a_walk_yields_images_sorted_and_descends_into_subfolders(tmp_path: Path) -> None:
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
def test_a_walk_resumes_after_any_path_it_yielded(trees: list[list[str]]) -> None:
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
def test_a_folder_listed_in_several_passes_is_walked_in_the_same_order_from_any_path(
    trees: list[list[bytes]], names_per_pass: int, chunk: int
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(walk_module, "PASS", names_per_pass)
        patch.setattr(walk_module, "CHUNK", chunk)
        files = {b"/".join(b"d" + part for part in tree) + b".jpg" for tree in trees}
        root = touch(
            Path(folder), *(os.fsdecode(file) for file in files), "notes.txt", ".hidden.jpg"
        )
        expected = sorted(files, key=lambda file: file.split(b"/"))
        assert list(walk(root, True)) == expected
        assert list(walk(root, False)) == [file for file in expected if b"/" not in file]
        for i, path in enumerate(expected):
            assert list(walk(root, True, after=path)) == expected[i + 1 :]


def test_a_folder_that_changes_during_a_walk_yields_each_path_once_and_all_that_stayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk_module, "PASS", 3)
    stay = [f"{i:02}.jpg" for i in range(0, 40, 2)]
    root = touch(tmp_path, *stay, "33.jpg")
    paths = walk(root, True)
    before = [next(paths) for _ in range(5)]
    touch(tmp_path, "01.jpg", "31.jpg")
    (tmp_path / "33.jpg").unlink()
    after = list(paths)
    assert before + after == sorted([*map(os.fsencode, stay), b"31.jpg"])


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


def test_a_folder_that_could_not_be_listed_is_not_descended_into_later(
    tmp_path: Path,
) -> None:
    root = touch(tmp_path, "a.jpg", "open_by_now/b.jpg", "z.jpg")
    assert list(walk(root, True, after=b"open_by_now")) == [b"z.jpg"]


def test_a_walk_resumes_after_a_path_that_is_gone(tmp_path: Path) -> None:
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


def test_a_folder_that_may_not_be_listed_is_named(tmp_path: Path, another_user: None) -> None:
    root = touch(tmp_path, "a.jpg", "closed/b.jpg", "z.jpg")
    (tmp_path / "a.jpg").chmod(0)
    (tmp_path / "closed").chmod(0)
    assert list(walk(root, True)) == [b"a.jpg", b"closed", b"z.jpg"]
    (tmp_path / "closed").chmod(0o700)


def test_a_walk_that_waits_ends_where_a_drive_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = touch(tmp_path, "a/1.jpg", "b/2.jpg", "c/3.jpg")
    scandir = os.scandir

    def fail_on_b(path: bytes) -> object:
        if path.endswith(b"/b"):
            raise OSError(errno.EIO, "Input/output error")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", fail_on_b)
    assert list(walk(folder, True)) == [b"a/1.jpg", b"b", b"c/3.jpg"]
    waiting = walk(folder, True, wait=True)
    assert next(waiting) == b"a/1.jpg"
    with pytest.raises(FolderError, match="/b cannot be listed: Input/output error"):
        next(waiting)


def test_what_a_walk_passes_over_is_counted_by_kind_and_pattern(tmp_path: Path) -> None:
    root = touch(
        tmp_path, "a.jpg", "b.JXL", "b.cr2", "notes.txt", ".hidden.jpg", "c/._d.jpg", "c/d.jpg"
    )
    touch(tmp_path, "@eaDir/a.jpg", "c/@eaDir/d.jpg", "c/d_small.jpg", "e/f.txt", "README")
    passing = Passing(Exclusions(["@eaDir", "*_small.jpg"]))
    assert list(walk(root, True, passing=passing)) == [b"a.jpg", b"c/d.jpg"]
    expected = {".jxl": 1, ".cr2": 1, "other": 3, "hidden": 2, "@eaDir": 2, "*_small.jpg": 1}
    assert passing.counts == expected

    alone = Passing()
    assert list(walk(root, False, passing=alone)) == [b"a.jpg"]
    assert alone.counts == {".jxl": 1, ".cr2": 1, "other": 2, "hidden": 1}


@pytest.mark.parametrize("names_per_pass", [1, 2, 100])
def test_an_interrupted_walk_counts_each_file_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names_per_pass: int
) -> None:
    monkeypatch.setattr(walk_module, "PASS", names_per_pass)
    monkeypatch.setattr(walk_module, "CHUNK", 1)
    root = touch(tmp_path, "a/1.txt", "a/b/2.txt", "a/b/3.jpg", "a/c.jpg", "a/d/4.txt", "e/5.jxl")
    touch(tmp_path, "a/b.jpg", "f.jpg", "g.txt", "h/i.jpg", "h/j.txt", "k/l.txt")

    whole = Passing()
    paths = list(walk(root, True, passing=whole))
    for last in range(len(paths)):
        first = Passing()
        begun = walk(root, True, passing=first)
        assert [next(begun) for _ in range(last + 1)] == paths[: last + 1]
        rest = Passing(counts=first.counts.copy())
        assert list(walk(root, True, paths[last], passing=rest)) == paths[last + 1 :]
        assert rest.counts == whole.counts == {"other": 6, ".jxl": 1}
