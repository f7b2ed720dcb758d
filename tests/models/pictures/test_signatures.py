"""Files that are not read say what they are."""

import pytest

from models.errors import ImageError
from models.pictures import signatures
from models.pictures.decode import decode
from models.pictures.signatures import describe


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\xff\x0a" + bytes(20), "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n", "JPEG XL"),
        (b"II*\0" + bytes(20), "TIFF"),
        (b"\xff\xd8\xff" + bytes(20), "JPEG"),
    ],
)
def test_a_picture_of_another_format_is_named(data: bytes, name: str) -> None:
    assert name in describe(data)
    with pytest.raises(ImageError, match=name):
        decode(data, (48, 48))


def test_a_heic_picture_says_how_it_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signatures, "HEIC", ())
    assert "pip install 'cuemill[heic]'" in describe(b"\0\0\0\x18ftypheic" + bytes(20))
