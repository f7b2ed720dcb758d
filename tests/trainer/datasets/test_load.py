"""The dispatcher: sources are recognised by suffix, merged, or refused."""

from pathlib import Path

import pytest

from models.errors import DataError
from models.pictures.preprocessing import Preprocessing
from tests.builders import save_grey
from trainer.datasets.load import load

SIZE = Preprocessing(height=8, width=8)


def test_several_sources_are_merged(folder: Path, pair: Path) -> None:
    data = load([str(folder), str(pair)], SIZE)
    assert len(data) == 7
    assert data.name == "faces/train, train_data.npy"
    assert data.balance()["happiness"] == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nowhere.csv", "nowhere.csv is not a file"),
        (
            "fer2013.csv,val",
            "has no option 'val'. Options of its kind: training, publictest, privatetest",
        ),
        ("train_data.npy,train", "has no option 'train'. Options of its kind: none"),
        ("", "has no path"),
    ],
)
def test_a_source_that_makes_no_sense_is_refused(text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        load([text], SIZE)


def test_two_options_that_exclude_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "Annotations.mat").touch()
    with pytest.raises(DataError, match="has the options train and val, which exclude each other"):
        load([f"{tmp_path}/Annotations.mat,train,val"], SIZE)


def test_a_comma_in_a_path_is_part_of_it(tmp_path: Path) -> None:
    save_grey(tmp_path / "a, b" / "sad" / "1.png", 5)
    assert len(load([str(tmp_path / "a, b")], SIZE)) == 1
