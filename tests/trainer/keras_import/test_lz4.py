"""LZ4 frames: what the LZ4 library wrote is read; anything broken is refused."""

import pytest

from tests.trainer.keras_import.pickles import FIXTURES
from trainer.keras_import.compression import inflate
from trainer.keras_import.errors import RefusedError

PLAIN = (FIXTURES / "functional211.pkl").read_bytes()
PACKED = (FIXTURES / "functional211.pkl.lz4").read_bytes()
"""Written by `lz4.frame.compress` of lz4 4.4, which joblib calls."""

HEAD = PACKED[:4] + b"\x60\x40\x82"


def frame(*blocks: bytes) -> bytes:
    return HEAD + b"".join(len(b).to_bytes(4, "little") + b for b in blocks) + bytes(4)


def test_what_the_lz4_library_wrote_is_read() -> None:
    assert len(PACKED) < len(PLAIN)
    assert inflate(PACKED) == PLAIN


def test_repetitions_may_overlap_themselves_and_reach_into_earlier_blocks() -> None:
    first, second = b"\x3fabc\x03\x00\x01\x10x", b"\x00\x01\x00\x10y"
    assert inflate(frame(first, second)) == b"abc" * 7 + b"ab" + b"xxxxxy"


@pytest.mark.parametrize(
    "raw",
    [
        HEAD[:4],
        PACKED[:5000],
        PACKED[:-5],
        HEAD[:4] + b"\x61" + PACKED[5:],
        frame(b"\x10a\x02\x00\x10x"),
        frame(b"\x10a\x00\x00\x10x"),
        frame(b"\xf0"),
        frame(b"\x1fa\x01\x00" + b"\xff" * 50),
    ],
)
def test_a_broken_frame_is_refused(raw: bytes) -> None:
    with pytest.raises(RefusedError, match="its LZ4 data cannot be decompressed"):
        inflate(raw)


def test_a_frame_larger_than_any_model_is_read_no_further(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trainer.keras_import.lz4.MAX_BYTES", 1000)
    bomb = frame(b"\x1fa\x01\x00" + b"\xff" * 50 + b"\x00\x10x")
    with pytest.raises(RefusedError, match="more than any model"):
        inflate(bomb)
    with pytest.raises(RefusedError, match="decompresses to more than 1,000 bytes"):
        inflate(frame(b"\xf0" + b"\xff" * 4 + b"\x00" + bytes(1035)))
