"""EMOTIC: people cropped with their categories, or refused with the reason."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from PIL import Image

from models.errors import DataError
from models.labels import EMOTIONS
from models.pictures.preprocessing import Preprocessing
from tests.trainer.datasets.annotations import agreed, person, picture, struct, structs
from trainer.datasets.load import load

SIZE = Preprocessing(height=8, width=8)


@pytest.fixture
def emotic(tmp_path: Path) -> Path:
    """Two pictures in train, one each in val and test; all dark on the left, light on the right."""
    images = tmp_path / "emotic" / "mscoco" / "images"
    images.mkdir(parents=True)
    pixels = np.full((20, 30, 3), 40, np.uint8)
    pixels[:, 15:] = 220
    for name in "abcd":
        Image.fromarray(pixels).save(images / f"{name}.png")
    face = np.array([[16.0, 2.0, 28.0, 18.0]])
    train = structs(
        picture(
            "a.png",
            person([0, 0, 14, 20], "Peace"),
            person([16, 0, 30, 20], "Peace", "Doubt/Confusion"),
        ),
        picture("b.png", person([-5.2, 0, 14.4, 99], "Happiness", "Peace", "Pleasure", "Esteem")),
    )
    parts = {
        "train": train,
        "val": picture("c.png", agreed([0, 0, 14, 20], "Anger", "Fear", "Anger", "Fear", "Pain")),
        "test": picture(
            "d.png",
            *(person([0, 0, 14, 20], "Anger", face_bbox=box) for box in (face, np.empty((0, 0)))),
        ),
    }
    (tmp_path / "Annotations").mkdir()
    scipy.io.savemat(tmp_path / "Annotations" / "Annotations.mat", parts)
    return tmp_path / "Annotations" / "Annotations.mat"


def shares(target: Any) -> dict[str, float]:
    return {EMOTIONS[i]: float(target[i]) for i in np.flatnonzero(target)}


def test_people_are_cropped_and_keep_their_categories_in_equal_shares(emotic: Path) -> None:
    data = load([str(emotic)], SIZE)
    assert data.images[:, 4, 4, 0].tolist() == [40, 220, 40]
    assert data.soft is not None
    assert [shares(target) for target in data.soft] == [
        {"peace": 1.0},
        {"peace": 0.5, "doubt_confusion": 0.5},
        {"happiness": 0.25, "peace": 0.25, "pleasure": 0.25, "esteem": 0.25},
    ]
    assert set(data.emotions()) == {"peace", "doubt_confusion", "happiness", "pleasure", "esteem"}


def test_the_rarest_category_stands_for_the_others_by_option(emotic: Path) -> None:
    data = load([f"{emotic},rarest"], SIZE)
    assert [EMOTIONS[label] for label in data.labels] == [
        "peace",
        "doubt_confusion",
        "esteem",
    ]  # Of equals, the first.
    assert data.soft is None


def test_several_annotators_are_taken_by_what_they_agreed_on(emotic: Path) -> None:
    data = load([f"{emotic},val"], SIZE)
    assert data.soft is not None
    assert shares(data.soft[0]) == pytest.approx({"anger": 1 / 3, "fear": 1 / 3, "pain": 1 / 3})


def test_the_face_is_cropped_by_option_where_the_file_has_one(emotic: Path) -> None:
    assert load([f"{emotic},test,face"], SIZE).images[:, 4, 4, 0].tolist() == [220]
    with pytest.raises(DataError, match=r"has no face_bbox\. Use the option `body` instead"):
        load([f"{emotic},train,face"], SIZE)


def test_a_few_people_with_broken_or_missing_pictures_are_skipped_with_a_warning(
    emotic: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The published archive has some; removing them by hand must not stop a training."""
    images = emotic.parents[1] / "emotic/mscoco/images"
    whole = [picture("a.png", *[person([0, 0, 14, 20], "Peace") for _ in range(300)])]
    wrong = [
        picture("gone.png", person([0, 0, 14, 20], "Anger")),
        picture("cut.png", person([0, 0, 14, 20], "Fear")),
    ]
    (images / "cut.png").write_bytes((images / "a.png").read_bytes()[:60])
    outside = picture("b.png", person([16, 0, 30, 20], "Pain"), person([40, 0, 50, 20], "Esteem"))
    scipy.io.savemat(emotic, {"train": structs(*wrong, *whole, outside)})
    data = load([str(emotic)], SIZE)
    assert data.balance() == {"peace": 300, "pain": 1}
    assert (len(data.images), data.images[-1, 4, 4, 0]) == (301, 220)
    assert data.name == "Annotations.mat (train, body), without 3 people who could not be cropped"
    assert "skipped 3 people. The first: " in caplog.text
    assert "gone.png, which does not exist" in caplog.text
    (images / "b.png").unlink()
    with pytest.raises(DataError, match=r"4 of 304 people cannot be trained on"):
        load([str(emotic)], SIZE)


def test_a_missing_picture_of_emotic_is_named_with_where_to_put_it(emotic: Path) -> None:
    (emotic.parents[1] / "emotic/mscoco/images/b.png").unlink()
    with pytest.raises(
        DataError,
        match=r"names mscoco/images/b\.png, which does not exist. Put EMOTIC's image folders into",
    ):
        load([str(emotic)], SIZE)


@pytest.mark.parametrize(
    ("train", "said"),
    [
        (
            picture("a.png", person([0, 0, 9, 9], "Joy")),
            "has an unknown category 'Joy'. Expected one of the 28",
        ),
        (picture("a.png", person([40, 0, 50, 9], "Peace")), "box .* is outside the picture"),
        (
            picture("a.png", person([0, 0, 0, 9], "Peace")),
            "has no person with a category and a body in train",
        ),
        (
            picture("../../../a.png", person([0, 0, 9, 9], "Peace")),
            r"names .*a\.png, which does not exist",
        ),
        (struct(filename="a.png"), "is not EMOTIC's annotations, or is damaged"),
    ],
)
def test_annotations_that_cannot_be_trained_on_are_refused(
    emotic: Path, train: Any, said: str
) -> None:
    (emotic.parents[1] / "emotic" / "a.png").touch()
    scipy.io.savemat(emotic, {"train": train})
    with pytest.raises(DataError, match=said):
        load([str(emotic)], SIZE)


@pytest.mark.parametrize(
    "content", [b"", b"no MATLAB file at all" * 20, b"MATLAB 5.0 MAT-file" + bytes(200)]
)
def test_a_file_that_is_not_matlabs_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "Annotations.mat").write_bytes(content)
    with pytest.raises(DataError, match="is not EMOTIC's annotations, or is damaged"):
        load([str(tmp_path / "Annotations.mat")], SIZE)
