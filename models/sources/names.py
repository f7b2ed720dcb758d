"""File names: which ones are images, and how paths, which are bytes, are stored as text."""

import os
import re
from typing import Final

SUFFIXES: Final = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"}
)
"""File name endings that a scan takes for images. The content decides what a file really is."""

_ENDINGS = tuple(os.fsencode(suffix) for suffix in SUFFIXES)
_ESCAPE = re.compile(r"\\(?:\\|x([0-9a-f]{2}))")


def to_text(name: bytes) -> str:
    r"""A path as text for any database: non-UTF-8 bytes become `\xNN`, a backslash `\\`.

    It does not depend on this process's locale, as `os.fsdecode` does.
    """
    text = name.decode("utf-8", "surrogateescape").replace("\\", "\\\\")
    return re.sub("[\udc80-\udcff]", lambda match: f"\\x{ord(match[0]) - 0xDC00:02x}", text)


def to_bytes(text: str) -> bytes:
    """The inverse of `to_text`."""

    def unescape(match: re.Match[str]) -> str:
        return chr(0xDC00 + int(match[1], 16)) if match[1] else "\\"

    return _ESCAPE.sub(unescape, text).encode("utf-8", "surrogateescape")


def is_image(name: bytes) -> bool:
    return not name.startswith(b".") and name.lower().endswith(_ENDINGS)
