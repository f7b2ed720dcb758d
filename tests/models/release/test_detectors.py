"""The digests of detectors' files."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from models.errors import EngineError
from models.pictures.detection import Detection, FaceMode
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
    elsewhere = Detection(FaceMode.AUTO, "/elsewhere/YuNet.onnx", detectors.shipped_digest())
    assert detectors.locate(elsewhere) == detectors.SHIPPED

    another = replace(elsewhere, detector_sha256="0" * 64)
    assert detectors.locate(another) == Path("/elsewhere/YuNet.onnx")


def test_a_job_records_which_detector_finds_its_faces(tmp_path: Path) -> None:
    own = tmp_path / "own.onnx"
    own.write_bytes(b"weights")

    detection = detectors.choose_detection(FaceMode.DETECT, 20, 0.7, own)
    assert (detection.detector, detection.detector_sha256) == (
        str(own),
        hashlib.sha256(b"weights").hexdigest(),
    )
    assert detectors.choose_detection(FaceMode.WHOLE, 20, 0.7) == Detection()


def test_a_missing_digest_of_the_detector_that_ships_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detectors, "SHIPPED", tmp_path / "face.onnx")
    with pytest.raises(EngineError, match=r"face\.onnx\.sha256 is missing"):
        detectors.shipped_digest()
