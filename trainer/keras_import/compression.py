"""Compressed files, as joblib writes them: zlib, gzip, bz2, xz, lzma and LZ4."""

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Any, Final

import lz4.frame

from models.release.files import MAX_BYTES
from trainer.keras_import.errors import RefusedError

MAX_DICTIONARY_BYTES: Final = 200_000_000
"""What a decompressor of xz or lzma may hold in memory besides its output; level 9 needs 65 MB."""

_DECOMPRESSORS: Final[dict[bytes, Callable[[], Any]]] = {
    b"\x1f\x8b": lambda: zlib.decompressobj(wbits=31),
    b"\x78": zlib.decompressobj,
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\x00": lambda: lzma.LZMADecompressor(memlimit=MAX_DICTIONARY_BYTES),
    b"\x5d\x00": lambda: lzma.LZMADecompressor(memlimit=MAX_DICTIONARY_BYTES),
    b"\x04\x22\x4d\x18": lz4.frame.LZ4FrameDecompressor,
}
"""By a file's first bytes."""


def inflate(raw: bytes) -> bytes:
    """Decompresses what is compressed; returns anything else unchanged.

    Raises:
        RefusedError: the data is broken, or decompresses to more than `MAX_BYTES`.
    """
    for start, make in _DECOMPRESSORS.items():
        if raw.startswith(start):
            return _decompress(make(), raw)
    return raw


def _decompress(decompressor: Any, raw: bytes) -> bytes:
    try:
        plain: bytes = decompressor.decompress(raw, MAX_BYTES)
    except (zlib.error, lzma.LZMAError, OSError, RuntimeError, MemoryError) as error:
        raise RefusedError(f"it looks compressed, but cannot be decompressed: {error}") from error

    if not decompressor.eof:
        raise RefusedError(f"it is truncated, or decompresses to more than {MAX_BYTES:,} bytes")
    return plain
