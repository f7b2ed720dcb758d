"""Preprocessing constants: into the pickle and back, and refused where they are invalid."""

import pytest

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
    ],
)
def test_invalid_constants_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(PickleCorruptError):
        Preprocessing.from_plain({**Preprocessing().to_plain(), **change})
