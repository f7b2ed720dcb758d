"""From a file to its faces: the place, the size and the pixels of drawn faces that are known."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import ExifTags, Image

from models.pictures.detection import THRESHOLD, WHOLE, FaceMode
from models.pictures.preprocessing import Preprocessing
from models.pictures.resize import read_pixels
from models.release.detectors import choose_detection, locate
from samples.faces import GRIN, draw
from worker.engines.faces.base import Detector, Faces
from worker.engines.faces.load import load_detector
from worker.faces import Face, FaceFinder

DETECT = choose_detection(FaceMode.DETECT, 20, THRESHOLD)
AUTO = replace(DETECT, mode=FaceMode.AUTO)
PREPROCESSING = Preprocessing()


@pytest.fixture(scope="module")
def detector() -> Detector:
    return load_detector(locate(DETECT), DETECT.detector_sha256)


def picture(width: int, height: int, *faces: tuple[int, int, int]) -> Image.Image:
    """A grey picture with a drawn face at each (left, top) of a side."""
    image = Image.new("RGB", (width, height), (110, 120, 130))
    face = draw(GRIN, 480, 480)
    for left, top, side in faces:
        image.paste(face.resize((side, side), Image.Resampling.LANCZOS), (left, top))
    return image


def encode(image: Image.Image, file_format: str = "JPEG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def centre(face: Face) -> tuple[float, float]:
    assert face.box is not None
    x, y, width, height = face.box
    return x + width / 2, y + height / 2


def test_every_face_has_its_place_in_the_upright_picture(detector: Detector) -> None:
    image = picture(800, 600, (60, 40, 200), (500, 300, 240))
    turned = image.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6

    finder = FaceFinder(DETECT, PREPROCESSING, lambda: detector)
    upright, restored = (
        finder.find(data).faces for data in (encode(image), encode(turned, exif=exif.tobytes()))
    )
    for faces in (upright, restored):
        by_place = sorted(faces, key=centre)
        assert centre(by_place[0]) == pytest.approx((160, 140), abs=25)
        assert centre(by_place[1]) == pytest.approx((620, 420), abs=25)
        assert all(face.confidence and face.confidence >= THRESHOLD for face in faces)
        assert all(face.roll is not None and abs(face.roll) < 10 for face in faces)
        assert {face.pixels.shape for face in faces} == {(48, 48, 3)}


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_a_small_face_of_a_large_picture_is_cut_from_all_its_pixels(
    detector: Detector, file_format: str
) -> None:
    image = picture(4000, 3000, (1900, 1500, 100))
    (small,) = (
        FaceFinder(DETECT, PREPROCESSING, lambda: detector).find(encode(image, file_format)).faces
    )
    (same,) = (
        FaceFinder(DETECT, PREPROCESSING, lambda: detector)
        .find(encode(image.crop((1600, 1200, 2240, 1840)), "PNG"))
        .faces
    )

    assert centre(small) == pytest.approx((1950, 1550), abs=20)
    # As sharp as where it was never reduced; cut from the view, its details would be halved.
    details = [np.abs(np.diff(face.pixels.astype(int), axis=1)).mean() for face in (small, same)]
    assert details[0] > 0.85 * details[1]


def test_small_faces_and_doubtful_ones_are_left_out(detector: Detector) -> None:
    data = encode(picture(800, 600, (60, 40, 60), (500, 300, 240)))

    def count(min_face: int, threshold: float) -> int:
        detection = replace(DETECT, min_face=min_face, threshold=threshold)
        return len(FaceFinder(detection, PREPROCESSING, lambda: detector).find(data).faces)

    assert [count(20, THRESHOLD), count(100, THRESHOLD), count(20, 0.99)] == [2, 1, 0]


def test_auto_takes_a_crop_whole_as_the_mode_whole_does(detector: Detector) -> None:
    for side in (48, 200):
        data = encode(draw(GRIN, side, side))
        (face,) = FaceFinder(AUTO, PREPROCESSING, lambda: detector).find(data).faces
        (whole,) = FaceFinder(WHOLE, PREPROCESSING, lambda: detector).find(data).faces

        assert (face.box, face.confidence, face.roll) == (None, None, None)
        assert np.array_equal(face.pixels, whole.pixels)
        assert np.array_equal(whole.pixels, read_pixels(data, PREPROCESSING))


def test_auto_finds_the_faces_of_a_photograph_or_none(detector: Detector) -> None:
    finder = FaceFinder(AUTO, PREPROCESSING, lambda: detector)
    (face,) = finder.find(encode(picture(640, 480, (200, 150, 120)))).faces
    assert face.box is not None
    assert finder.find(encode(picture(640, 480))).faces == []


class Crowd:
    """Stands for a detector at its limit: a real picture of so many faces takes a minute."""

    name = "crowd"
    shorter_side = 960

    def detect(self, image: Image.Image, threshold: float) -> Faces:
        boxes = np.tile(np.array([10, 10, 60, 60], np.float32), (1000, 1))
        points = np.array([[20, 25], [45, 25], [32, 35], [22, 48], [42, 48]], np.float32)
        return Faces(boxes, np.full(1000, 0.9, np.float32), np.tile(points, (1000, 1, 1)))


def test_a_picture_with_too_many_faces_says_so() -> None:
    found = FaceFinder(DETECT, PREPROCESSING, Crowd).find(encode(picture(640, 480)))
    assert (len(found.faces), found.is_all) == (1000, False)
