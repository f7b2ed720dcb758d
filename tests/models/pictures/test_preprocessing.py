"""Preprocessing constants: into the pickle and back, and refused where they are invalid."""

import numpy as np
import pytest
from numpy.typing import NDArray

from models.errors import PickleCorruptError
from models.pictures.preprocessing import Preprocessing


def test_constants_survive_the_pickle() -> None:
    preprocessing = Preprocessing(96, 64, "bgr", antialias=False, scale=1.0, offset=0.0)
    assert Preprocessing.from_plain(preprocessing.to_plain()) == preprocessing


@pytest.mark.parametrize(
    "change",
    [
        {"height": 0},
        {"width": 48.0},
        {"resampling": "magic"},
        {"scale": float("nan")},
        {"antialias": 1},
        {"equalise": 1, "channel_order": "grey"},
        {"equalise": True, "channel_order": "rgb"},
    ],
)
def test_invalid_constants_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(PickleCorruptError):
        Preprocessing.from_plain({**Preprocessing().to_plain(), **change})


EQUALISED = Preprocessing(4, 4, "grey", equalise=True, scale=1.0, offset=0.0)


def grey(*levels: list[int]) -> NDArray[np.uint8]:
    """Images of 16 pixels."""
    images = np.array(levels, np.uint8).reshape(len(levels), 4, 4, 1)
    return np.repeat(images, 3, axis=-1)


def test_an_equalised_image_uses_all_levels_evenly_whatever_its_light() -> None:
    ramp = list(range(100, 116))
    inputs = EQUALISED.to_input(grey(ramp, [level // 2 for level in range(0, 240, 15)]))
    assert inputs[0, ..., 0].ravel().tolist() == [17 * step for step in range(16)]
    assert (inputs[0] == inputs[1]).all()
    assert (inputs[..., :1] == inputs).all()


def test_equal_levels_stay_equal_and_each_image_has_a_histogram_of_its_own() -> None:
    inputs = EQUALISED.to_input(grey([7] * 8 + [9] * 4 + [200] * 4, [0] * 8 + [255] * 8))
    assert inputs[0, ..., 1].ravel().tolist() == [0] * 8 + [128] * 4 + [255] * 4
    assert inputs[1, ..., 1].ravel().tolist() == [0] * 8 + [255] * 8


def test_an_image_of_one_grey_and_no_image_at_all_stay_as_they_are() -> None:
    assert (EQUALISED.to_input(grey([40] * 16)) == 40).all()
    assert EQUALISED.to_input(np.empty((0, 4, 4, 3), np.uint8)).shape == (0, 4, 4, 3)
