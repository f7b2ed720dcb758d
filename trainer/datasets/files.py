"""Reading many picture files, in threads."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from pathlib import Path
from typing import Final, TypeVar

from models.errors import DataError, ImageError

THREADS: Final = min(16, cpu_count() or 1)
"""Pillow releases the interpreter lock while it decodes, so threads help."""

A = TypeVar("A")
B = TypeVar("B")

OnRead = Callable[[int, int], None]
"""Called with the number of images read so far, and the total."""


def map_in_threads(function: Callable[[A], B], items: Sequence[A]) -> Iterator[B]:
    """Applies a function to each item in parallel; yields the results in the items' order."""
    # `decode` silences Pillow's warnings by swapping the filters of the whole process. Threads that
    # do so at once would restore each other's filters, so they are silenced here for all of them.
    with warnings.catch_warnings(action="ignore"), ThreadPoolExecutor(THREADS) as threads:
        yield from threads.map(function, items)


def read_file(path: Path, decode: Callable[[bytes], A]) -> A:
    """Reads a picture file and decodes its bytes.

    Raises:
        DataError: the file cannot be read or decoded.
    """
    try:
        return decode(path.read_bytes())
    except (ImageError, OSError) as error:
        raise DataError(f"Cannot train on {path}: {error} Repair or remove it.") from error
