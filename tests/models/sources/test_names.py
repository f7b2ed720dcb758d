"""Names as bytes, and as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.sources.names import HIDDEN, OTHER, is_image, kind_of, to_bytes, to_text

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


@pytest.mark.parametrize(
    "name", [b"a.JPG", b"a.jfif", b"a.jpe", b"a.avif", b"a.pnm", b"a.dib", b"a.apng", b"a.jp2"]
)
def test_names_of_pictures_are_known_by_their_ending(name: bytes) -> None:
    assert is_image(name)
    assert not is_image(b"." + name)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (b"a.JXL", ".jxl"),
        (b"a.b.cr2", ".cr2"),
        (b".a.jxl", HIDDEN),
        (b"._a.jpg", HIDDEN),
        (b"a.txt", OTHER),
        (b"jxl", OTHER),
        (b"Thumbs.db", OTHER),
    ],
)
def test_other_names_are_counted_as_pictures_that_are_not_read_or_as_what_they_are(
    name: bytes, kind: str
) -> None:
    assert kind_of(name) == kind
