"""The pickle's stream: exactly one call is accepted, everything else is refused by name."""

import gzip
import os
import pickle
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.errors import (
    PickleCorruptError,
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


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress])
def test_compressed_files_of_joblib_are_read(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    (tmp_path / "model.pkl").write_bytes(compress((FIXTURES / "keras211.pkl").read_bytes()))
    assert (
        import_keras(tmp_path / "model.pkl").network
        == import_keras(FIXTURES / "keras211.pkl").network
    )


@pytest.mark.parametrize("protocol", [3, 5])
def test_other_protocols_of_the_same_call_are_accepted(tmp_path: Path, protocol: int) -> None:
    call = Call("keras.saving.pickle_utils", "deserialize_model_from_bytecode", archive())
    (tmp_path / "model.pkl").write_bytes(call.dump(protocol))
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


def test_a_file_larger_than_any_model_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("read", "stream"):
        monkeypatch.setattr(f"trainer.keras_import.{module}.MAX_BYTES", 1_000_000)
    (tmp_path / "bomb.pkl").write_bytes(gzip.compress(bytes(50_000_000)))
    with pytest.raises(PickleCorruptError, match="decompresses to more than 1,000,000 bytes"):
        import_keras(tmp_path / "bomb.pkl")
    (tmp_path / "large.pkl").write_bytes(bytes(1_000_001))
    with pytest.raises(PickleCorruptError, match="larger than 1,000,000 bytes"):
        import_keras(tmp_path / "large.pkl")
