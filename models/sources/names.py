"""Names are bytes: which of them are taken for images, and how paths are written down as text."""

import os
import re
from typing import Final

SUFFIXES: Final = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"}
)
"""What a scan takes for an image, by the end of its name; what it really is, its content says."""

_ENDINGS = tuple(os.fsencode(suffix) for suffix in SUFFIXES)
_ESCAPE = re.compile(r"\\(?:\\|x([0-9a-f]{2}))")


def to_text(name: bytes) -> str:
    r"""A path as text that any database takes; bytes that are no UTF-8 become `\xNN`, a backslash `\\`."""
    text = os.fsdecode(name).replace("\\", "\\\\")
    return re.sub("[\udc80-\udcff]", lambda m: f"\\x{ord(m[0]) - 0xDC00:02x}", text)


def to_bytes(text: str) -> bytes:
    """The inverse of `to_text`."""
    return os.fsencode(_ESCAPE.sub(lambda m: chr(0xDC00 + int(m[1], 16)) if m[1] else "\\", text))


def is_image(name: bytes) -> bool:
    return not name.startswith(b".") and name.lower().endswith(_ENDINGS)
