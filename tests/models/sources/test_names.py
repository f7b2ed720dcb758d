"""Names as bytes, and as text."""

from hypothesis import given
from hypothesis import strategies as st

from models.sources.names import to_bytes, to_text

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
