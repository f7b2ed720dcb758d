"""The standard streams: whatever they cannot take ends in a sentence, never in a traceback."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from models.errors import CuemillError

_STDOUT: Final = 1


class OutputError(CuemillError):
    """The standard output cannot be written."""

    code = "output"


class ReaderGoneError(Exception):
    """The reader of the standard output, such as `head`, has seen enough."""


def prepare_streams() -> None:
    """Makes the standard streams safe to use.

    Raises:
        OutputError: the standard output is closed.
    """
    # A closed one would give its number to the next file, such as the database.
    is_open = [_open_if_closed(number) for number in range(3)]

    sys.stderr = _wrap(sys.stderr, _QuietStream, 2)
    if not is_open[_STDOUT]:
        raise OutputError("The standard output is closed. Send it to a file, or to /dev/null.")
    sys.stdout = _wrap(sys.stdout, _DataStream, _STDOUT)


def discard_rest() -> None:
    """Sends what is still to be written to the standard output nowhere."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, _STDOUT)
    os.close(null)


class _DataStream(io.TextIOWrapper):
    """The standard output."""

    def write(self, text: str, /) -> int:
        with _translated_errors():
            return super().write(text)

    def flush(self) -> None:
        with _translated_errors():
            super().flush()


class _QuietStream(io.TextIOWrapper):
    """The standard error: if it fails, there is nowhere to say so."""

    def write(self, text: str, /) -> int:
        with suppress(OSError):
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise ReaderGoneError from None
    except OSError as error:
        raise OutputError(f"Cannot write to the standard output: {error.strerror}.") from error


def _open_if_closed(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        os.open(os.devnull, os.O_RDWR)
        return False
    return True


def _wrap(stream: Any, kind: type[io.TextIOWrapper], number: int) -> io.TextIOWrapper:
    """The same stream, which shows characters that its encoding lacks as escapes."""
    encoding = "utf-8"
    if stream is not None:
        encoding = stream.encoding
        stream.flush()
    file = open(number, "wb", closefd=False)  # noqa: SIM115  # Lives as long as the program.
    return kind(file, encoding, "backslashreplace", line_buffering=file.isatty() or number == 2)
