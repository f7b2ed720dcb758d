"""The detector that ships, on drawn scenes whose faces' places are known."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.errors import EngineError
from models.pictures.detection import THRESHOLD
from models.release.detectors import SHIPPED, shipped_digest
from samples.faces import GRIN, draw
from worker.engines.faces.base import MAX_FACES, Faces
from worker.engines.faces.load import load_detector
from worker.engines.faces.yunet import YuNet

Box = tuple[int, int, int, int]


@pytest.fixture(scope="module")
def detector() -> YuNet:
    found = load_detector(SHIPPED, shipped_digest())
    assert isinstance(found, YuNet)
    return found


def scene(size: tuple[int, int], boxes: list[Box]) -> Image.Image:
    """A grey picture with a drawn face in each square box."""
    image = Image.new("RGB", size, (110, 120, 130))
    face = draw(GRIN, 480, 480)
    for left, top, right, bottom in boxes:
        image.paste(
            face.resize((right - left, bottom - top), Image.Resampling.LANCZOS), (left, top)
        )
    return image


def overlaps(faces: Faces, boxes: list[Box]) -> list[float]:
    """For each face drawn, the best intersection over union with a face found."""
    best = []
    for truth in np.array(boxes, float):
        shares = [0.0]
        for found in faces.boxes:
            low, high = np.maximum(found[:2], truth[:2]), np.minimum(found[2:], truth[2:])
            shared = np.prod((high - low).clip(0))
            whole = np.prod(found[2:] - found[:2]) + np.prod(truth[2:] - truth[:2]) - shared
            shares.append(float(shared / whole))
        best.append(max(shares))
    return best


@pytest.mark.parametrize("side", [40, 60, 200, 460])
def test_a_face_of_any_size_is_found_once_where_it_was_drawn(detector: YuNet, side: int) -> None:
    box = (40, 10, 40 + side, 10 + side)
    faces = detector.detect(scene((640, 480), [box]), THRESHOLD)
    assert len(faces) == 1
    assert overlaps(faces, [box])[0] > 0.6


def test_every_face_of_a_group_is_found(detector: YuNet) -> None:
    boxes = [
        (x, y, x + side, y + side)
        for x, y, side in [
            (20, 30, 90),
            (200, 40, 120),
            (420, 20, 70),
            (60, 250, 150),
            (330, 260, 100),
        ]
    ]
    faces = detector.detect(scene((640, 480), boxes), THRESHOLD)
    assert len(faces) == len(boxes)
    assert min(overlaps(faces, boxes)) > 0.6
    assert (np.diff(faces.confidences) <= 0).all()


def test_the_points_of_an_upright_face_lie_where_a_face_has_them(detector: YuNet) -> None:
    faces = detector.detect(scene((640, 480), [(200, 100, 400, 300)]), THRESHOLD)
    right_eye, left_eye, nose, right_mouth, left_mouth = faces.points[0]
    assert right_eye[0] < nose[0] < left_eye[0]
    assert right_mouth[0] < left_mouth[0]
    assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])


def test_a_picture_without_a_face_has_none(detector: YuNet) -> None:
    for picture in (scene((640, 480), []), Image.new("RGB", (1, 1))):
        faces = detector.detect(picture, THRESHOLD)
        assert len(faces) == 0
        assert faces.boxes.shape == (0, 4)
        assert faces.points.shape == (0, 5, 2)


def test_small_faces_of_a_large_photograph_are_found_in_a_closer_look(detector: YuNet) -> None:
    boxes = [
        (600 * column, 500 * row, 600 * column + 110, 500 * row + 110)
        for column in range(6)
        for row in range(5)
    ]
    faces = detector.detect(scene((4000, 3000), boxes), THRESHOLD)
    assert len(faces) == len(boxes)


def test_the_faces_of_a_panorama_are_found_in_its_tiles(detector: YuNet) -> None:
    boxes = [(1000 * n + 130, 200, 1000 * n + 330, 400) for n in range(8)]
    faces = detector.detect(scene((8000, 700), boxes), THRESHOLD)
    assert len(faces) == len(boxes)
    assert min(overlaps(faces, boxes)) > 0.6


@pytest.mark.parametrize(
    ("side", "box", "expected"),
    [
        (500, (0, 0, 500, 500), [256]),
        (500, (150, 150, 350, 350), [256, 640]),
        (224, (60, 60, 160, 160), [256]),
        (224, (60, 60, 100, 100), [256, 640]),
    ],
)
def test_a_face_that_fills_the_picture_or_is_big_in_a_small_one_is_looked_at_once(
    detector: YuNet, monkeypatch: pytest.MonkeyPatch, side: int, box: Box, expected: list[int]
) -> None:
    looks: list[int] = []
    look = detector._look

    def counted(image: Image.Image, size: int, threshold: float) -> Faces:
        looks.append(size)
        return look(image, size, threshold)

    monkeypatch.setattr(detector, "_look", counted)
    assert len(detector.detect(scene((side, side), [box]), THRESHOLD)) == 1
    assert looks == expected


@pytest.mark.parametrize("size", [(30_000, 8), (3, 2000), (17, 17)])
def test_odd_shapes_are_no_error(detector: YuNet, size: tuple[int, int]) -> None:
    detector.detect(scene(size, []), THRESHOLD)


def test_the_number_of_faces_is_bounded(detector: YuNet) -> None:
    # Given a picture in which, at this threshold, nearly everything is taken for a face
    noise = np.random.default_rng(0).integers(0, 256, (1200, 1600, 3), np.uint8)
    faces = detector.detect(Image.fromarray(noise), 0.0001)
    assert 100 < len(faces) <= MAX_FACES


def test_a_file_that_is_missing_or_has_another_digest_is_refused(tmp_path: Path) -> None:
    weights = tmp_path / "face.onnx"
    with pytest.raises(EngineError, match="cannot be read"):
        load_detector(weights, shipped_digest())

    weights.write_bytes(SHIPPED.read_bytes() + b"\0")
    with pytest.raises(EngineError, match="was changed"):
        load_detector(weights, shipped_digest())


def test_a_file_that_is_no_detector_is_refused_by_name() -> None:
    with pytest.raises(EngineError, match="cannot run the face detector other"):
        YuNet(b"no ONNX", "other")
