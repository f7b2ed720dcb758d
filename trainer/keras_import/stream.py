"""The byte stream of a pickle, walked opcode by opcode without executing it."""

import pickletools
import warnings
from itertools import islice
from typing import Final

from models.errors import PickleHostileError
from trainer.keras_import.errors import RefusedError

MAX_OPCODES: Final = 100

_KERAS_2_CALL: Final = [
    "global keras.saving.pickle_utils.deserialize_model_from_bytecode",
    "BYTES",
    "TUPLE1",
    "REDUCE",
]
_BYTES_AS_TEXT: Final = ["global _codecs.encode", "TEXT", "text latin1", "TUPLE2", "REDUCE"]
"""Protocols below 3 have no bytes: they write them as text, with the call that encodes it."""

_KERAS_3_CALL: Final = [
    "global builtins.getattr",
    "MODEL",
    "text _unpickle_model",
    "TUPLE2",
    "REDUCE",
    "global _io.BytesIO",
    "EMPTY_TUPLE",
    "NEWOBJ",
    "BYTES",
    "NUMBER",
    "NONE",
    "TUPLE3",
    "BUILD",
    "TUPLE1",
    "REDUCE",
]
_MODEL_CLASSES: Final = [
    "global keras.src.models.sequential.Sequential",
    "global keras.src.models.functional.Functional",
]
_NO_EFFECT: Final = {"PROTO", "FRAME", "MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT", "STOP"}
"""Opcodes that frame the stream or fill its memo, but put nothing on the stack."""


def extract_archive(raw: bytes) -> bytes:
    """The bytes object that the pickle passes to Keras, if that call is all it does.

    Raises:
        RefusedError: the bytes are not a pickle.
        PickleHostileError: the pickle does anything else.
    """
    steps, archive = _list_steps(raw)
    # A Keras 3 model may be of either class.
    call = ["MODEL" if step in _MODEL_CLASSES else step for step in steps]
    if call in (_KERAS_2_CALL, _KERAS_3_CALL):
        return archive

    expected = [*_KERAS_2_CALL, *_KERAS_3_CALL, *_MODEL_CLASSES]
    foreign = [
        step.removeprefix("global ")
        for step in steps
        if step.startswith("global ") and step not in expected
    ]
    if foreign:
        raise PickleHostileError(f"it asks for {', '.join(foreign[:5])}")
    raise PickleHostileError("it does more than pass one archive to Keras")


def _list_steps(raw: bytes) -> tuple[list[str], bytes]:
    """The stream's steps as text, such as `global os.system`, and its last bytes object."""
    steps: list[str] = []
    texts: list[str] = []
    archive = b""
    is_encoded = False
    try:
        for name, argument in _read_opcodes(raw):
            if name in _NO_EFFECT:
                continue

            if name == "STACK_GLOBAL":  # Takes its module and name from the stack.
                module, attribute = texts[-2:]
                del steps[-2:], texts[-2:]
                steps.append(f"global {module}.{attribute}")
            elif name in {"GLOBAL", "INST"}:  # Module and name are one argument.
                # Protocols below 3 call `builtins` as Python 2 did.
                path = str(argument).replace(" ", ".").replace("__builtin__.", "builtins.")
                steps.append(f"global {path}")
                is_encoded = steps[-1] == "global _codecs.encode"
            elif isinstance(argument, str) and is_encoded:
                archive, is_encoded = argument.encode("latin-1"), False
                steps.append("TEXT")
            elif isinstance(argument, str):
                texts.append(argument)
                steps.append(f"text {argument}")
            elif isinstance(argument, bytes):
                archive = argument
                steps.append("BYTES")
            elif isinstance(argument, int):
                steps.append("NUMBER")
            else:
                steps.append(name)

            if steps[-len(_BYTES_AS_TEXT) :] == _BYTES_AS_TEXT:
                steps[-len(_BYTES_AS_TEXT) :] = ["BYTES"]
    except (ValueError, IndexError, OverflowError, UnicodeError) as error:
        raise RefusedError(f"it is not a pickle, or is broken: {error}") from error
    return steps, archive


def _read_opcodes(raw: bytes) -> list[tuple[str, object]]:
    """Each opcode's name and argument."""
    # Python warns of odd escapes in a pickle's strings.
    with warnings.catch_warnings(action="ignore"):
        opcodes = list(islice(pickletools.genops(raw), MAX_OPCODES + 1))

    if len(opcodes) > MAX_OPCODES:
        raise RefusedError(f"it has more than {MAX_OPCODES} opcodes, and the call needs far fewer")
    return [(opcode.name, argument) for opcode, argument, _ in opcodes]
