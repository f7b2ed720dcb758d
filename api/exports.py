"""Exports: a job's results as one body, in large pieces, compressed for whoever asks."""

import re
import zlib
from collections.abc import Iterator
from typing import Annotated, Final

from fastapi import Depends, Request

PIECE_CHARACTERS: Final = 65_536
"""A thread makes each piece; one for each line would take three times the processor time."""
_LEVEL: Final = 1
"""Scores are digits, which higher levels hardly make smaller."""

_GZIP: Final = re.compile(r"(^|,)\s*gzip\s*(?!\s*;\s*q=0(\.0*)?\s*(,|$))(;|,|$)", re.IGNORECASE)


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether a client that sends this header reads gzip; one without the header may not."""
    return _GZIP.search(accept_encoding) is not None


async def _wants_gzip(request: Request) -> bool:
    return accepts_gzip(request.headers.get("accept-encoding", ""))


WantsGzip = Annotated[bool, Depends(_wants_gzip)]


def in_pieces(lines: Iterator[str]) -> Iterator[bytes]:
    """The same text in large pieces."""
    joined: list[str] = []
    size = 0
    for line in lines:
        joined.append(line)
        size += len(line)
        if size >= PIECE_CHARACTERS:
            yield "".join(joined).encode()
            joined.clear()
            size = 0
    yield "".join(joined).encode()


def gzipped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same, compressed. If the pieces break off, so does this, without the end of the file."""
    compressor = zlib.compressobj(_LEVEL, wbits=16 + zlib.MAX_WBITS)
    for piece in pieces:
        yield compressor.compress(piece)
    yield compressor.flush()
