"""LZ4 frames, as joblib writes them with `compress="lz4"`.

The format: https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md and `lz4_Block_format.md`.
Checksums are not compared; the zip archive inside a pickle has its own.
"""

from typing import Final

from models.release.files import MAX_BYTES

MAGIC: Final = b"\x04\x22\x4d\x18"
STORED: Final = 0x8000_0000
"""The bit of a block's size that says that the block is not compressed."""


def decompress(raw: bytes) -> bytes:
    """The content of one frame.

    Raises:
        ValueError: it is broken, needs a dictionary, or has more than `MAX_BYTES`.
        IndexError: it is truncated.
    """
    flags = raw[4]
    if not raw.startswith(MAGIC) or flags >> 6 != 1 or flags & 1:
        raise ValueError("its LZ4 frame is of another version, or needs a dictionary")
    has_block_checksums, has_size = flags & 16, flags & 8

    content = bytearray()
    at = 15 if has_size else 7
    while size := _read_size(raw, at):
        end = at + 4 + (size & ~STORED)
        if end > len(raw):
            raise IndexError("a block is truncated")

        block = raw[at + 4 : end]
        if size & STORED:
            content += block
        else:
            _decompress_block(block, content)
        if len(content) > MAX_BYTES:
            raise ValueError(f"it decompresses to more than {MAX_BYTES:,} bytes")
        at = end + (4 if has_block_checksums else 0)
    return bytes(content)


def _read_size(raw: bytes, at: int) -> int:
    if at + 4 > len(raw):
        raise IndexError("it is truncated")
    return int.from_bytes(raw[at : at + 4], "little")


def _decompress_block(block: bytes, content: bytearray) -> None:
    """Appends a block's content, which may repeat what earlier blocks have."""
    at = 0
    while True:
        token = block[at]
        length, at = _read_length(block, at + 1, token >> 4)
        if at + length > len(block):
            raise IndexError("a block is truncated")
        content += block[at : at + length]
        at += length
        if at == len(block):  # The last part of a block repeats nothing.
            return

        distance = block[at] + 256 * block[at + 1]
        length, at = _read_length(block, at + 2, token & 15)
        length += 4
        if not 0 < distance <= len(content) or len(content) + length > MAX_BYTES:
            raise ValueError("a block repeats what is not there, or more than any model has")
        # What is repeated may reach into the repetition.
        start = len(content) - distance
        pattern = bytes(content[start : start + length])
        content += (pattern * (length // len(pattern) + 1))[:length]


def _read_length(block: bytes, at: int, length: int) -> tuple[int, int]:
    """A length whose first 4 bits are given, and where it ends; 15 and 255: more follows."""
    if length == 15:
        while True:
            more = block[at]
            at += 1
            length += more
            if more != 255:
                break
    return length, at
