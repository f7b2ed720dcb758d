"""The digests of detectors' files."""

import hashlib
from pathlib import Path

import pytest

from models.errors import EngineError
from models.release import detectors


def test_the_detector_that_ships_has_the_digest_beside_it() -> None:
    assert detectors.digest_of(detectors.SHIPPED) == detectors.shipped_digest()


def test_a_users_file_is_hashed_whether_or_not_a_digest_lies_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "face.onnx"
    path.write_bytes(b"weights")
    assert detectors.digest_of(path) == hashlib.sha256(b"weights").hexdigest()


def test_a_missing_file_or_a_folder_is_refused_by_name(tmp_path: Path) -> None:
    for path in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(EngineError, match=f"No face detector at {path}"):
            detectors.digest_of(path)


def test_the_detector_that_ships_is_found_wherever_the_job_was_submitted() -> None:
    elsewhere = Path("/elsewhere/YuNet.onnx")
    assert detectors.locate(elsewhere, detectors.shipped_digest()) == detectors.SHIPPED
    assert detectors.locate(elsewhere, "0" * 64) == elsewhere


def test_a_missing_digest_of_the_detector_that_ships_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detectors, "SHIPPED", tmp_path / "face.onnx")
    with pytest.raises(EngineError, match=r"face\.onnx\.sha256 is missing"):
        detectors.shipped_digest()
