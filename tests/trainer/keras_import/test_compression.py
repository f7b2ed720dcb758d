"""Compressed files: each of joblib's compressions is read, within limits."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path

import lz4.frame
import pytest

from models.errors import PickleCorruptError
from tests.trainer.keras_import.pickles import genuine
from trainer.keras_import.compression import inflate
from trainer.keras_import.errors import RefusedError
from trainer.keras_import.read import import_keras


def lzma_alone(raw: bytes) -> bytes:
    return lzma.compress(raw, lzma.FORMAT_ALONE)


COMPRESSIONS = [
    gzip.compress,
    zlib.compress,
    bz2.compress,
    lzma.compress,
    lzma_alone,
    lz4.frame.compress,
]


@pytest.mark.parametrize("compress", COMPRESSIONS)
def test_compressed_files_of_joblib_are_read(compress: Callable[[bytes], bytes]) -> None:
    assert inflate(compress(genuine())) == genuine()


@pytest.mark.parametrize("compress", COMPRESSIONS)
def test_a_compressed_file_cut_short_is_refused(compress: Callable[[bytes], bytes]) -> None:
    with pytest.raises(RefusedError, match="it is truncated"):
        inflate(compress(genuine())[:5000])


@pytest.mark.parametrize("compress", COMPRESSIONS)
def test_a_file_larger_than_any_model_is_read_no_further(
    monkeypatch: pytest.MonkeyPatch, compress: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setattr("trainer.keras_import.compression.MAX_BYTES", 1_000_000)
    with pytest.raises(RefusedError, match="decompresses to more than 1,000,000 bytes"):
        inflate(compress(bytes(5_000_000)))


@pytest.mark.parametrize(
    "start",
    [b"\x1f\x8b", b"\x78\x9c", b"BZh9", b"\xfd7zXZ\x00", b"\x5d\x00", b"\x04\x22\x4d\x18"],
)
def test_a_file_that_only_looks_compressed_is_refused(start: bytes) -> None:
    with pytest.raises(RefusedError, match="cannot be decompressed"):
        inflate(start + b"\xee" * 100)


def test_a_file_larger_than_any_model_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.keras_import.read.MAX_BYTES", 1_000_000)
    (tmp_path / "large.pkl").write_bytes(bytes(1_000_001))
    with pytest.raises(PickleCorruptError, match="larger than 1,000,000 bytes"):
        import_keras(tmp_path / "large.pkl")
