"""Reads an untrusted pickle without executing any of it.

The stream is checked opcode by opcode before an unpickler that admits no global runs it; what comes
out is then measured as a tree.
"""

import io
import pickle
import pickletools
from typing import Any, Final

from models.errors import PickleHostileError

MAX_STEPS: Final = 100_000
"""Opcodes in a stream, and so values in it. A network of 60 layers takes 4,000."""

MAX_DEPTH: Final = 32

_PLAIN: Final = frozenset(
    {
        "APPEND",
        "APPENDS",
        "BINBYTES",
        "BINFLOAT",
        "BINGET",
        "BININT",
        "BININT1",
        "BININT2",
        "BINUNICODE",
        "EMPTY_DICT",
        "EMPTY_LIST",
        "FRAME",
        "LONG1",
        "LONG_BINGET",
        "MARK",
        "MEMOIZE",
        "NEWFALSE",
        "NEWTRUE",
        "NONE",
        "PROTO",
        "SETITEM",
        "SETITEMS",
        "SHORT_BINBYTES",
        "SHORT_BINUNICODE",
        "STOP",
    }
)
"""The opcodes that `save_release` writes.

Some that call nothing are excluded too: tuples, which overflow the stack when nested a million deep
and used as a key; numbered memo slots, of which the unpickler allocates as many as the highest
number says; and everything that declares eight-byte sizes.
"""

_CALLS: Final = frozenset(
    {
        "BINPERSID",
        "BUILD",
        "EXT1",
        "EXT2",
        "EXT4",
        "GLOBAL",
        "INST",
        "NEWOBJ",
        "NEWOBJ_EX",
        "NEXT_BUFFER",
        "OBJ",
        "PERSID",
        "READONLY_BUFFER",
        "REDUCE",
        "STACK_GLOBAL",
    }
)
"""The opcodes that import something, call it, or read data from outside the stream."""


def loads(raw: bytes) -> Any:
    """Loads the plain values of a pickle.

    Raises:
        PickleHostileError: the pickle asks for code to run.
        Exception: nearly any; the stream is broken, or holds what no release does.
    """
    _check_opcodes(raw)
    content = _PlainUnpickler(io.BytesIO(raw)).load()
    _check_tree(content)
    return content


class _PlainUnpickler(pickle.Unpickler):
    """Builds dicts, lists, strings, bytes and numbers, and refuses to look up anything else."""

    def find_class(self, module: str, name: str) -> Any:
        raise _hostile(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        raise _hostile("an object outside the file")


def _hostile(what: str) -> PickleHostileError:
    return PickleHostileError(f"it asks for {what}, but a model holds only plain values")


def _check_opcodes(raw: bytes) -> None:
    """Checks the stream without running any of it.

    Raises:
        PickleHostileError: an opcode imports or calls something.
        ValueError: an opcode is not one that a release uses, there are too many, or the stream
            cannot be read to its end.
    """
    unexpected = ""
    penultimate_text, last_text = "", ""
    for count, (opcode, argument, _) in enumerate(pickletools.genops(raw)):
        if opcode.name in _CALLS:
            # STACK_GLOBAL takes its module and name from the stack: usually, the last two strings.
            if opcode.name == "STACK_GLOBAL":
                called = f"{penultimate_text}.{last_text}"
            elif opcode.name in ("GLOBAL", "INST"):
                called = str(argument)
            else:
                called = opcode.name
            raise _hostile(called.replace(" ", ".")[:200])

        if count >= MAX_STEPS:
            raise ValueError(f"it has more than {MAX_STEPS:,} opcodes")
        if isinstance(argument, str):
            penultimate_text, last_text = last_text, argument
        if opcode.name not in _PLAIN:
            unexpected = unexpected or opcode.name

    # Reported last, so that a hostile pickle is reported as such whatever else it holds.
    if unexpected:
        raise ValueError(f"it holds the opcode {unexpected}, which no Cuemill model uses")


def _check_tree(content: Any) -> None:
    """Checks the size of what was unpickled, level by level.

    Each value counts as often as it is referred to. This catches a few lists that refer to one
    another thousands of times, and a list that holds itself.

    Raises:
        ValueError: it is too deep or too large, or has a key that is not a string or an integer of
            more than 64 bits.
    """
    level, remaining = [content], MAX_STEPS
    for _ in range(MAX_DEPTH):
        containers = [value for value in level if isinstance(value, dict | list)]
        remaining -= sum(map(len, containers))
        if remaining < 0:
            raise ValueError(f"it holds more than {MAX_STEPS:,} values")

        dicts = [container for container in containers if isinstance(container, dict)]
        if not all(type(key) is str for entries in dicts for key in entries):
            raise ValueError("it has a key that is not a string")
        if any(type(value) is int and value.bit_length() > 63 for value in level):
            raise ValueError("it has an integer of more than 64 bits")

        if not containers:
            return
        level = []
        for container in containers:
            level.extend(container.values() if isinstance(container, dict) else container)
    raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels")
