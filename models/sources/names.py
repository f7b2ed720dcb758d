"""File names: which ones are images, and how paths, which are bytes, are stored as text."""

import os
import re
from importlib.util import find_spec
from typing import Final

HEIC: Final = frozenset({".heic", ".heif", ".hif"})

SUFFIXES: Final = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".avif", ".gif"}
    | {".tif", ".tiff", ".bmp", ".dib", ".jp2", ".j2k", ".pbm", ".pgm", ".ppm", ".pnm"}
    | (HEIC if find_spec("pillow_heif") else set())
)
"""File name endings that a scan takes for images. The content decides what a file really is."""

UNREAD: Final = (
    HEIC
    | {".jxl", ".jxr", ".psd", ".svg", ".exr", ".ico", ".tga", ".xcf"}
    | {".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw"}
) - SUFFIXES
"""Endings of pictures in formats that are not read. A scan counts these files by ending."""

REMEDIES: Final = dict.fromkeys(sorted(HEIC), "install cuemill[heic]")
"""What to do about some of them."""

HIDDEN: Final = "hidden"
OTHER: Final = "other"
"""What a scan counts all other files as."""

_ENDINGS = tuple(os.fsencode(suffix) for suffix in SUFFIXES)
_UNREAD_ENDINGS = {os.fsencode(suffix): suffix for suffix in UNREAD}
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


def kind_of(name: bytes) -> str:
    """What a file that is no image is counted as: the ending of a picture, `hidden` or `other`."""
    if name.startswith(b"."):
        return HIDDEN
    return _UNREAD_ENDINGS.get(os.path.splitext(name)[1].lower(), OTHER)
