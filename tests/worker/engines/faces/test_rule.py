"""When `--faces auto` takes a picture for a crop."""

import numpy as np
import pytest

from worker.engines.faces.base import Faces
from worker.engines.faces.rule import is_crop, is_sure_crop

Box = tuple[float, float, float, float]


def found(*boxes: Box) -> Faces:
    count = len(boxes)
    return Faces(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.full(count, 0.9, np.float32),
        np.zeros((count, 5, 2), np.float32),
    )


@pytest.mark.parametrize(
    ("size", "expected"), [((48, 48), True), ((64, 40), True), ((65, 20), False)]
)
def test_only_a_tiny_picture_is_surely_a_crop(size: tuple[int, int], expected: bool) -> None:
    assert is_sure_crop(size) is expected


def test_a_picture_that_one_face_fills_is_a_crop() -> None:
    assert is_crop((1000, 1000), found((100, 100, 800, 900)))
    assert not is_crop((1000, 1000), found((100, 100, 500, 700)))


def test_only_the_part_of_a_face_inside_the_picture_counts() -> None:
    assert is_crop((100, 100), found((-30, -30, 130, 130)))
    assert not is_crop((100, 100), found((-200, -200, 40, 40)))
    assert not is_crop((100, 100), found((-200, -200, -100, -100)))


def test_a_picture_of_several_faces_is_none_however_large_they_are() -> None:
    assert not is_crop((100, 100), found((0, 0, 90, 90), (80, 80, 100, 100)))


@pytest.mark.parametrize(
    ("size", "expected"),
    [((100, 100), True), ((178, 218), True), ((256, 192), False), ((640, 640), False)],
)
def test_a_small_square_picture_without_a_face_found_is_a_crop(
    size: tuple[int, int], expected: bool
) -> None:
    assert is_crop(size, found()) is expected
