"""Writes TIFF files of any layout, which no encoder does, after the TIFF 6.0 specification."""

import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHORT, LONG = 3, 4
DEFLATE = 8
PALETTE, SEPARATED, LAB = 3, 5, 8
UNSIGNED, SIGNED, FLOAT = 1, 2, 3


def tiff(
    samples: NDArray[Any],
    photometric: int,
    *,
    bits: int | None = None,
    kind: int = UNSIGNED,
    order: str = "<",
    planar: bool = False,
    deflate: bool = False,
    extra: Sequence[int] = (),
    palette: Sequence[int] = (),
) -> bytes:
    """One directory, and one strip for each plane.

    Args:
        samples: (height, width, samples a pixel).
        bits: of a sample, if it has fewer than its type.
        kind: of number, as in SampleFormat.
        order: of bytes, `<` or `>`.
        extra: kinds of the samples beyond colour, as in ExtraSamples.
    """
    height, width, count = samples.shape
    bits = bits or 8 * samples.itemsize
    planes = np.split(samples, count, axis=2) if planar else [samples]
    strips = [_pack(plane, bits, order) for plane in planes]
    strips = [zlib.compress(strip) for strip in strips] if deflate else strips

    ends = np.cumsum([8, *map(len, strips)]).tolist()
    tags = {
        256: (LONG, [width]),
        257: (LONG, [height]),
        258: (SHORT, [bits] * count),
        259: (SHORT, [DEFLATE if deflate else 1]),
        262: (SHORT, [photometric]),
        273: (LONG, ends[:-1]),
        277: (SHORT, [count]),
        278: (LONG, [height]),
        279: (LONG, [len(strip) for strip in strips]),
        284: (SHORT, [2 if planar else 1]),
        320: (SHORT, palette),
        338: (SHORT, extra),
        339: (SHORT, [kind] * count),
    }
    return _assemble(
        b"".join(strips), {tag: field for tag, field in tags.items() if field[1]}, order
    )


def _pack(samples: NDArray[Any], bits: int, order: str) -> bytes:
    if bits == 8 * samples.itemsize:
        return samples.astype(samples.dtype.newbyteorder(order)).tobytes()  # type: ignore[arg-type]
    rows = samples.reshape(len(samples), -1, 1)
    digits = (rows >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(digits.reshape(len(samples), -1).astype(bool), axis=1).tobytes()


def _assemble(pixels: bytes, tags: dict[int, tuple[int, Sequence[int]]], order: str) -> bytes:
    """The header, the pixels, values of more than four bytes, and the directory."""
    body = pixels + b"\0" * (len(pixels) % 2)
    entries = b""
    for tag, (kind, values) in sorted(tags.items()):
        packed = struct.pack(order + {SHORT: "H", LONG: "I"}[kind] * len(values), *values)
        if len(packed) > 4:
            body, packed = body + packed, struct.pack(order + "I", 8 + len(body))
        entries += struct.pack(order + "HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")

    mark = b"II" if order == "<" else b"MM"
    header = mark + struct.pack(order + "HI", 42, 8 + len(body))
    return header + body + struct.pack(order + "H", len(tags)) + entries + b"\0" * 4
