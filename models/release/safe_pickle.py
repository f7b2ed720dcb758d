"""Reading a hostile pickle: a walk over its steps, an unpickler that admits no global, and a measure of what came out."""

import io
import pickle
import pickletools
from typing import Any, Final

from models.errors import PickleHostileError

MAX_STEPS: Final = 100_000
"""Of the pickle's stream; it also bounds how many values there are. A network of 60 layers takes 4,000."""
MAX_DEPTH: Final = 32

_PLAIN: Final = frozenset(
    {
        *("PROTO", "FRAME", "MARK", "STOP", "MEMOIZE", "BINGET", "LONG_BINGET"),
        *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
        *("SHORT_BINUNICODE", "BINUNICODE", "SHORT_BINBYTES", "BINBYTES"),
        *("EMPTY_DICT", "SETITEM", "SETITEMS", "EMPTY_LIST", "APPEND", "APPENDS"),
    }
)
"""The steps that `save` writes. Left out besides those that call: tuples, which nested a million deep and used as a key
overrun the stack; numbered memo slots, of which the unpickler allocates as many as the highest number says; and all
that declares sizes of eight bytes."""
_CALLS: Final = frozenset(
    {
        *("GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "REDUCE", "BUILD"),
        *("EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID", "NEXT_BUFFER", "READONLY_BUFFER"),
    }
)
"""The steps that look something up, call it, or take what isn't in the stream."""


def loads(raw: bytes) -> Any:
    """The plain values of a pickle, with none of it executed.

    Raises:
        PickleHostileError: it asks for code to run.
        Exception: nearly any; the stream is broken, or holds what no release does.
    """
    _check_steps(raw)
    content = _PlainUnpickler(io.BytesIO(raw)).load()
    _check_tree(content)
    return content


class _PlainUnpickler(pickle.Unpickler):
    """Builds dicts, lists, strings, bytes and numbers; anything else is refused before it is looked up."""

    def find_class(self, module: str, name: str) -> Any:
        raise PickleHostileError(
            f"it asks for {module}.{name}, and a model of ours asks for nothing"
        )

    def persistent_load(self, pid: Any) -> Any:
        raise PickleHostileError("it asks for an object outside itself")


def _check_steps(raw: bytes) -> None:
    """Walks the stream without running any of it.

    Raises:
        PickleHostileError: it would call something, or look something up.
        ValueError: it holds a step that isn't one of ours, or too many; or it can't be read to its end.
    """
    foreign, before, last = "", "", ""
    for count, (opcode, argument, _) in enumerate(pickletools.genops(raw)):
        if opcode.name in _CALLS:
            called = {"STACK_GLOBAL": f"{before}.{last}", "GLOBAL": argument, "INST": argument}.get(
                opcode.name
            )
            asked = str(called or opcode.name).replace(" ", ".")[:200]
            raise PickleHostileError(f"it asks for {asked}, and a model of ours asks for nothing")
        if count >= MAX_STEPS:
            raise ValueError(f"it takes more than {MAX_STEPS:,} steps")
        if isinstance(argument, str):
            before, last = last, argument
        if opcode.name not in _PLAIN:
            foreign = foreign or opcode.name
    if foreign:
        raise ValueError(f"it holds the step {foreign}, which no model of ours does")


def _check_tree(content: Any) -> None:
    """Measures what was unpickled, level by level, counting each value as often as it is referred to.

    So neither a few lists that refer to one another by the thousand get through, nor one that holds itself.

    Raises:
        ValueError: it is too deep or too many, or has a key that is no string, or a whole number of over 64 bits.
    """
    level, left = [content], MAX_STEPS
    for _ in range(MAX_DEPTH):
        holders = [value for value in level if isinstance(value, dict | list)]
        left -= sum(map(len, holders))
        if left < 0:
            raise ValueError(f"it holds more than {MAX_STEPS:,} values")
        if not all(
            type(key) is str for holder in holders if isinstance(holder, dict) for key in holder
        ):
            raise ValueError("a key in it is no string")
        if any(type(value) is int and value.bit_length() > 63 for value in level):
            raise ValueError("a number in it is too large")
        if not holders:
            return
        level = [
            inner
            for holder in holders
            for inner in (holder.values() if isinstance(holder, dict) else holder)
        ]
    raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels")
