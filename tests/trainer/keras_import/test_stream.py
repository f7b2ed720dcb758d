"""The pickle's stream: exactly one call is accepted, everything else is refused by name."""

import gzip
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.errors import (
    PickleError,
    PickleHostileError,
)
from tests.trainer.keras_import.pickles import (
    FIXTURES,
    MARK,
    Call,
    Reduce,
    archive,
    genuine,
)
from trainer.keras_import.read import import_keras
from trainer.keras_import.stream import extract_archive


def genuine_2() -> bytes:
    call = Call("keras.saving.pickle_utils", "deserialize_model_from_bytecode", archive())
    return call.dump(2)


@pytest.mark.parametrize("protocol", [2, 3, 5])
def test_other_protocols_of_the_same_call_are_accepted(tmp_path: Path, protocol: int) -> None:
    call = Call("keras.saving.pickle_utils", "deserialize_model_from_bytecode", archive())
    (tmp_path / "model.pkl").write_bytes(call.dump(protocol))
    assert extract_archive(call.dump(protocol)) == archive()
    assert len(import_keras(tmp_path / "model.pkl").network) == len(
        import_keras(FIXTURES / "keras211.pkl").network
    )


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (lambda: pickle.dumps(Reduce(os.system, f"touch {MARK}")), "posix.system"),
        (lambda: pickle.dumps(Reduce(eval, f"open('{MARK}', 'w')")), "builtins.eval"),
        (lambda: pickle.dumps(Reduce(os.system, f"touch {MARK}"), 0), "posix.system"),
        (lambda: Call("subprocess", "check_call", ["touch", MARK]).dump(), "subprocess.check_call"),
        (
            lambda: Call("keras.saving.pickle_utils", "other", archive()).dump(),
            "pickle_utils.other",
        ),
        (lambda: Call("builtins", "getattr", archive()).dump(), "does more than pass one archive"),
        (lambda: pickle.dumps([Reduce(os.system, f"touch {MARK}"), archive()]), "posix.system"),
        (
            lambda: genuine()[:-1] + b"0" + pickle.dumps(Reduce(os.system, f"touch {MARK}"))[2:],
            "posix.system",
        ),
        (
            lambda: Call("_codecs", "encode", f"touch {MARK}", "latin1").dump(2),
            "does more than pass one archive",
        ),
        (
            lambda: genuine_2().replace(b"latin1", b"idna12"),
            "_codecs.encode",
        ),
        (lambda: genuine()[:-1] + b"0N.", "does more than pass one archive"),
        (
            lambda: Call(
                "keras.saving.pickle_utils", "deserialize_model_from_bytecode", b"1", b"2"
            ).dump(),
            "does more than pass",
        ),
        (lambda: pickle.dumps(archive()), "does more than pass one archive"),
        (lambda: pickle.dumps({"a": 1}), "does more than pass one archive"),
        (lambda: b"\x80\x04\x82\x01.", "does more than pass one archive"),  # An extension's code.
    ],
)
def test_a_stream_that_does_anything_else_is_refused_by_name(
    tmp_path: Path, raw: Callable[[], bytes], said: str
) -> None:
    (tmp_path / "model.pkl").write_bytes(raw())
    with pytest.raises(PickleHostileError, match=f"model.pkl is refused: .*{said}"):
        import_keras(tmp_path / "model.pkl")


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (lambda: b"", "not a pickle"),
        (lambda: np.random.default_rng(0).bytes(1000), ""),
        (
            lambda: b"\x80\x04S'\\\xaa'\n",
            "not a pickle, or is broken",
        ),  # Python warns about this escape.
        (lambda: genuine()[:5000], "not a pickle, or is broken"),
        (lambda: b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f" + b"abc.", "not a pickle, or is broken"),
        (lambda: b"\x80\x04" + b"N0" * 1000 + b".", "more than 100 opcodes"),
        (lambda: gzip.compress(genuine())[:5000], "truncated"),
        (lambda: b"\x1f\x8b" + b"no gzip", "cannot be decompressed"),
    ],
)
def test_a_file_that_is_not_a_pickle_is_refused(
    tmp_path: Path, raw: Callable[[], bytes], said: str
) -> None:
    (tmp_path / "model.pkl").write_bytes(raw())
    with pytest.raises(PickleError, match=f"model.pkl is refused: .*{said}"):
        import_keras(tmp_path / "model.pkl")
