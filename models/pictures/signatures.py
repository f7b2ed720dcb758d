"""What a file is that Pillow does not read, told from its first bytes."""

from typing import Final

from models.pictures.heic import HEIC

_HEIC_BRANDS: Final = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_JXL: Final = (b"\xff\x0a", b"\0\0\0\x0cJXL ")
_TIFF: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_JPEG: Final = b"\xff\xd8\xff"


def describe(data: bytes) -> str:
    """A sentence that says why the file is not read."""
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS and not HEIC:
        return (
            "The file is a HEIC picture. To read it, run `pip install 'cuemill[heic]'` and restart "
            "the workers."
        )
    if data.startswith(_JXL):
        return "The file is a JPEG XL picture, which is not read."
    if data.startswith(_TIFF):
        return "The file begins as a TIFF, but is broken or has a layout that is not read."
    if data.startswith(_JPEG):
        return (
            "The file begins as a JPEG, but is broken or of a kind that is not read, such as 12 "
            "bits a sample."
        )
    return "The file's content is not an image in an accepted format."
