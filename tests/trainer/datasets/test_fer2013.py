"""FER-2013's CSV: rows read by usage, or refused with the line at fault."""

from pathlib import Path

import pytest

from models.errors import DataError
from models.labels import EMOTIONS
from models.pictures.preprocessing import Preprocessing
from trainer.datasets.load import load

SIZE = Preprocessing(height=8, width=8)


def fer(path: Path, *rows: str, header: str = "emotion,pixels,Usage") -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def face(value: int) -> str:
    return " ".join([str(value)] * 48 * 48)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = [f"{n},{face(10 * n)},Training" for n in range(7)]
    return fer(
        tmp_path / "fer2013.csv", *rows, f"3,{face(200)},PublicTest", f"6,{face(210)},PrivateTest"
    )


def test_fer2013s_numbers_become_our_labels(table: Path) -> None:
    data = load([str(table)], Preprocessing())
    named = [EMOTIONS[label] for label in data.labels]
    assert named == ["anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"]
    assert data.images[:, 5, 5].tolist() == [[10 * n] * 3 for n in range(7)]


@pytest.mark.parametrize(("usage", "value"), [("publictest", 200), ("PrivateTest", 210)])
def test_another_usage_is_read_by_its_name(table: Path, usage: str, value: int) -> None:
    assert load([f"{table},{usage}"], Preprocessing()).images[:, 0, 0, 0].tolist() == [value]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (f"7,{face(1)},Training", "line 2, is not FER-2013 data: emotion 7 is not in 0 to 6"),
        ("0,1 2 3,Training", "line 2, is not FER-2013 data: cannot reshape"),
        (f"0,{face(256)},Training", "line 2, is not FER-2013 data"),
        (f"0,{face(1)}", "line 2, is not FER-2013 data"),
        (f"x,{face(1)},Training", "line 2, is not FER-2013 data: emotion 'x' is neither a number"),
        (f"-1,{face(1)},Training", "line 2, is not FER-2013 data: emotion '-1' is neither"),
        (f"0,{face(1)},Elsewhere", "has no rows whose Usage is training"),
    ],
)
def test_a_wrong_line_of_the_csv_is_named(tmp_path: Path, row: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        load([str(fer(tmp_path / "x.csv", row))], SIZE)


def test_a_csv_with_other_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must name the columns emotion and pixels"):
        load([str(fer(tmp_path / "x.csv", "1,2", header="path,label"))], SIZE)


def test_a_byte_order_mark_other_columns_and_named_labels_are_read(tmp_path: Path) -> None:
    rows = [f'Training,"{face(10)}",angry', f"PublicTest,{face(20)},sad", f"Training,{face(30)},6"]
    path = fer(tmp_path / "x.csv", *rows, header="\ufeffUsage, Pixels,Emotion")
    data = load([str(path)], SIZE)
    assert [EMOTIONS[label] for label in data.labels] == ["anger", "neutral"]
    assert data.images[:, 0, 0, 0].tolist() == [10, 30]


def test_without_usage_all_rows_are_read(tmp_path: Path) -> None:
    path = fer(tmp_path / "x.csv", f"3,{face(1)}", f"Fearful,{face(2)}", header="emotion,pixels")
    data = load([str(path)], SIZE)
    assert [EMOTIONS[label] for label in data.labels] == ["happiness", "fear"]
    assert data.name == "x.csv"


def test_without_usage_none_can_be_asked_for(tmp_path: Path) -> None:
    path = fer(tmp_path / "x.csv", f"3,{face(1)}", header="emotion,pixels")
    with pytest.raises(DataError, match="it has no column Usage to find publictest in"):
        load([f"{path},publictest"], SIZE)
