"""The drawn samples: they are what the generator draws, and the detector finds their faces."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.pictures.detection import THRESHOLD
from models.release.detectors import SHIPPED, shipped_digest
from samples.faces import draw
from samples.generate import FOLDER, PHOTOGRAPHS, SAMPLES
from samples.scenes import Box, Scene, crowd
from worker.engines.faces.base import Detector
from worker.engines.faces.load import load_detector


@pytest.fixture(scope="module")
def detector() -> Detector:
    return load_detector(SHIPPED, shipped_digest())


def pixels(data: bytes) -> NDArray[np.float64]:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"), np.float64)


def overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    shared = float(np.prod((high - low).clip(0)))
    areas = sum((right - left) * (bottom - top) for left, top, right, bottom in (a, b))
    return shared / (areas - shared)


def assert_found(detector: Detector, picture: Image.Image, drawn: list[Box]) -> None:
    faces = detector.detect(picture.convert("RGB"), THRESHOLD)
    assert len(faces) == len(drawn)
    for box in drawn:
        assert max(overlap(box, tuple(found)) for found in faces.boxes.tolist()) > 0.6


def test_the_folder_holds_what_the_generator_draws() -> None:
    pictures = {
        str(path.relative_to(FOLDER))
        for path in FOLDER.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc", ".md")
    }
    assert pictures == {*SAMPLES, *PHOTOGRAPHS}

    # Another processor may round a sine otherwise, and so change a grey level here and there.
    for name in ("happiness-grey48.jpg", "sadness.png"):
        face, size, encode = SAMPLES[name]
        redrawn = pixels(encode(draw(face, *size)))
        assert np.abs(redrawn - pixels((FOLDER / name).read_bytes())).mean() < 0.1
    for name in ("photographs/walk.jpg", "photographs/nobody.png"):
        scene, encode = PHOTOGRAPHS[name]
        redrawn = pixels(encode(scene.draw()))
        assert np.abs(redrawn - pixels((FOLDER / name).read_bytes())).mean() < 0.1


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_every_face_of_a_photograph_is_found_where_it_was_drawn(
    detector: Detector, name: str
) -> None:
    with Image.open(FOLDER / name) as photograph:
        assert_found(detector, photograph, PHOTOGRAPHS[name][0].boxes())


@pytest.mark.parametrize(("size", "faces"), [((640, 480), 4), ((1500, 1000), 3)])
def test_a_crowd_of_any_size_is_found(
    detector: Detector, size: tuple[int, int], faces: int
) -> None:
    scene = Scene(size, crowd(faces))
    assert_found(detector, scene.draw(), scene.boxes())
