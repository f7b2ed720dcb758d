"""The byte stream of a pickle, walked opcode by opcode without executing it."""

import pickletools
import warnings
import zlib
from itertools import islice
from typing import Final

from models.errors import PickleHostileError
from models.release.files import MAX_BYTES
from trainer.keras_import.errors import RefusedError

MAX_OPCODES: Final = 100

_KERAS_2_CALL: Final = [
    "global keras.saving.pickle_utils.deserialize_model_from_bytecode",
    "BYTES",
    "TUPLE1",
    "REDUCE",
]
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


def inflate(raw: bytes) -> bytes:
    """Decompresses zlib or gzip, as joblib writes them; returns anything else unchanged.

    Raises:
        RefusedError: the data is broken, or decompresses to more than `MAX_BYTES`.
    """
    is_gzip = raw[:2] == b"\x1f\x8b"
    is_zlib = raw[:1] == b"\x78"
    if not is_gzip and not is_zlib:
        return raw

    try:
        decompressor = zlib.decompressobj(wbits=47)  # 32 + 15: detects either header.
        plain = decompressor.decompress(raw, MAX_BYTES)
    except (zlib.error, MemoryError) as error:
        raise RefusedError(f"it looks compressed, but cannot be decompressed: {error}") from error

    if decompressor.unconsumed_tail or not decompressor.eof:
        raise RefusedError(f"it is truncated, or decompresses to more than {MAX_BYTES:,} bytes")
    return plain


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
    try:
        for name, argument in _read_opcodes(raw):
            if name in _NO_EFFECT:
                continue

            if name == "STACK_GLOBAL":  # Takes its module and name from the stack.
                module, attribute = texts[-2:]
                del steps[-2:], texts[-2:]
                steps.append(f"global {module}.{attribute}")
            elif name in {"GLOBAL", "INST"}:  # Module and name are one argument.
                steps.append(f"global {str(argument).replace(' ', '.')}")
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
