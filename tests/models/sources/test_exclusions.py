"""Patterns of what is passed over."""

import pytest

from models.sources.exclusions import SYSTEM_FOLDERS, Exclusions, patterns_for
from models.sources.names import to_text


@pytest.mark.parametrize(
    ("pattern", "path", "is_excluded"),
    [
        ("@eaDir", "a/@eaDir", True),
        ("@eaDir", "a/@eadir", False),
        ("*_small.jpg", "a/b_small.jpg", True),
        ("*_small.jpg", "a/b_small.jpeg", False),
        ("b?.png", "é/b1.png", True),
        ("?.png", "é.png", True),
        ("raw/*.jpg", "raw/a.jpg", True),
        ("raw/*.jpg", "other/raw/a.jpg", False),
        ("raw/", "other/raw", True),
        ("/raw/b", "raw/b", True),
        ("[ab].jpg", "b.jpg", True),
    ],
)
def test_a_pattern_is_compared_with_names_or_with_a_slash_with_paths(
    pattern: str, path: str, is_excluded: bool
) -> None:
    folder, slash, name = path.rpartition("/")
    match = Exclusions([pattern]).match((folder + slash).encode(), name.encode())
    assert match == (pattern if is_excluded else None)


def test_names_that_are_not_utf_8_can_be_excluded() -> None:
    assert Exclusions([to_text(b"caf\xe9*")]).match(b"", b"caf\xe9.jpg") is not None


def test_folders_of_photo_systems_are_passed_over_unless_asked_for() -> None:
    assert patterns_for(["a", "@eaDir"], system_folders=False) == (*SYSTEM_FOLDERS, "a")
    assert patterns_for(["a"], system_folders=True) == ("a",)
