"""Sources of training data: each form read whole and in order, or refused with the name of what is wrong."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from PIL import Image

from models.errors import DataError
from models.labels import EMOTIONS
from models.pictures.preprocessing import Preprocessing
from trainer.datasets.dataset import write_pair
from trainer.datasets.load import load

SIZE = Preprocessing(height=8, width=8)


def save_image(path: Path, grey: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (grey, grey, grey)).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images of two labels, one by our name for it and one by FER-2013's."""
    root = tmp_path / "faces" / "train"
    save_image(root / "happy" / "b.png", 20)
    save_image(root / "happy" / "a.png", 10)
    save_image(root / "doubt_confusion" / "c.png", 30)
    return root


# --- Folders ---


def test_images_are_read_in_order_of_label_folder_and_name(folder: Path) -> None:
    data = load([str(folder)], SIZE)
    assert data.images.dtype == np.uint8
    assert data.images.shape == (3, 8, 8, 3)
    assert data.images[:, 0, 0, 0].tolist() == [30, 10, 20]
    assert [EMOTIONS[label] for label in data.labels] == [
        "doubt_confusion",
        "happiness",
        "happiness",
    ]
    assert data.name == "faces/train"


def test_balance_counts_images_in_label_order(folder: Path) -> None:
    assert list(load([str(folder)], SIZE).balance().items()) == [
        ("doubt_confusion", 1),
        ("happiness", 2),
    ]


def test_progress_is_told_of_every_image(folder: Path) -> None:
    told: list[tuple[int, int]] = []
    load([str(folder)], SIZE, lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_what_is_no_image_or_hidden_is_passed_over(folder: Path) -> None:
    (folder / "README.txt").write_text("about")
    (folder / "happy" / "notes.txt").write_text("about")
    (folder / "happy" / "._a.png").write_bytes(b"left by a file manager")
    (folder / ".cache").mkdir()
    assert len(load([str(folder)], SIZE)) == 3


def test_a_broken_image_is_named_with_its_remedy(folder: Path) -> None:
    (folder / "happy" / "broken.png").write_bytes(b"no image")
    with pytest.raises(
        DataError, match=r"happy/broken\.png can't be trained on: .* Remove it or mend it"
    ):
        load([str(folder)], SIZE)


def test_a_folder_that_names_no_label_is_refused(folder: Path) -> None:
    save_image(folder / "cheerful" / "d.png", 1)
    with pytest.raises(
        DataError, match=r"cheerful names no label; expected one of the 28 \(affection"
    ):
        load([str(folder)], SIZE)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere is not a folder"):
        load([str(tmp_path / "nowhere")], SIZE)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "happy").mkdir()
    with pytest.raises(DataError, match="has no image in subfolders named by label"):
        load([str(tmp_path)], SIZE)


def test_reading_in_threads_leaves_the_warning_filters_alone(folder: Path) -> None:
    for number in range(200):
        save_image(folder / "sad" / f"{number}.png", number)
    before = list(warnings.filters)
    load([str(folder)], SIZE)
    assert list(warnings.filters) == before


# --- The reference's pair ---


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """Four images: blue, in B, G, R."""
    images = np.zeros((4, 8, 8, 3), np.uint8)
    images[..., 0] = np.arange(200, 204)[:, None, None]
    np.save(tmp_path / "train_data.npy", images)
    np.save(tmp_path / "train_labels.npy", np.array([0, 27, 16, 1], np.int32))
    return tmp_path / "train_data.npy"


def test_a_pair_is_opened_by_memory_map_in_our_channel_order(pair: Path) -> None:
    data = load([str(pair)], SIZE)
    assert data.images[2, 0, 0].tolist() == [0, 0, 202]
    assert data.labels.tolist() == [0, 27, 16, 1]
    assert isinstance(data.images, np.memmap)
    assert not data.images.flags.writeable


@pytest.mark.parametrize(("order", "pixel"), [("bgr", [202, 0, 0]), ("grey", [23, 23, 23])])
def test_a_pair_is_read_in_the_order_that_the_preprocessing_wants(
    pair: Path, order: Any, pixel: list[int]
) -> None:
    data = load([str(pair)], Preprocessing(height=8, width=8, channel_order=order))
    assert data.images[2, 0, 0].tolist() == pixel


def test_a_pair_of_another_size_is_resized(pair: Path) -> None:
    assert load([str(pair)], Preprocessing()).images.shape == (4, 48, 48, 3)


def test_what_was_written_as_a_pair_is_read_back(folder: Path, tmp_path: Path) -> None:
    data = load([str(folder)], SIZE)
    again = load([str(write_pair(data, tmp_path, "train")[0])], SIZE)
    assert (again.images == data.images).all()
    assert (again.labels == data.labels).all()


def save(path: Path, array: Any) -> None:
    np.save(path, array, allow_pickle=True)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda d, ls: ls.unlink(), "train_labels.npy is missing"),
        (lambda d, ls: d.write_bytes(b"no array"), "train_data.npy is no array in NumPy's format"),
        (
            lambda d, ls: d.write_bytes(d.read_bytes()[:300]),
            "train_data.npy is no array in NumPy's format",
        ),
        (
            lambda d, ls: save(d, np.array([{}], object)),
            "train_data.npy is no array in NumPy's format",
        ),
        (
            lambda d, ls: save(d, np.full((4, 8, 8, 3), np.nan)),
            r"train_data.npy holds values that are no numbers \(NaN",
        ),
        (
            lambda d, ls: save(d, np.zeros((4, 8, 8, 3))),
            r"train_data.npy is float64 .*; expected uint8 \(n, height",
        ),
        (
            lambda d, ls: save(d, np.zeros((4, 8, 8), np.uint8)),
            r"of shape \(4, 8, 8\); expected uint8 \(n, height",
        ),
        (
            lambda d, ls: save(d, np.zeros((0, 8, 8, 3), np.uint8)),
            r"of shape \(0, 8, 8, 3\); expected uint8",
        ),
        (lambda d, ls: save(ls, np.array([0, 1])), "has 4 images, but train_labels.npy 2 labels"),
        (
            lambda d, ls: save(ls, np.array([0, 1, 28, 2])),
            "label 28 of image 2 is none; expected 0 to 27",
        ),
        (
            lambda d, ls: save(ls, np.array([0, -1, 2, 2])),
            "label -1 of image 1 is none; expected 0 to 27",
        ),
        (lambda d, ls: save(ls, np.array([0, np.nan, 2, 2])), r"labels that are no numbers \(NaN"),
        (
            lambda d, ls: save(ls, np.zeros((4, 28))),
            r"train_labels.npy is float64 of shape \(4, 28\); expected integers",
        ),
    ],
)
def test_a_pair_that_cannot_be_trained_on_is_refused(
    pair: Path, spoil: Callable[[Path, Path], Any], said: str
) -> None:
    spoil(pair, pair.with_name("train_labels.npy"))
    with pytest.raises(DataError, match=said):
        load([str(pair)], SIZE)


def test_an_array_without_a_pairs_name_is_refused(pair: Path) -> None:
    pair.rename(pair.with_name("faces.npy"))
    with pytest.raises(DataError, match=r"isn't named x_data\.npy"):
        load([str(pair.with_name("faces.npy"))], SIZE)


# --- FER-2013's CSV ---


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
        (f"7,{face(1)},Training", "line 2, is none of FER-2013's: emotion 7 is none of 0 to 6"),
        ("0,1 2 3,Training", "line 2, is none of FER-2013's: cannot reshape"),
        (f"0,{face(256)},Training", "line 2, is none of FER-2013's"),
        (f"0,{face(1)}", "line 2, is none of FER-2013's"),
        (f"x,{face(1)},Training", "line 2, is none of FER-2013's"),
        (f"0,{face(1)},Elsewhere", "has no row whose Usage is training"),
    ],
)
def test_a_wrong_line_of_the_csv_is_named(tmp_path: Path, row: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        load([str(fer(tmp_path / "x.csv", row))], SIZE)


def test_a_csv_with_other_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must name the columns emotion, pixels, Usage"):
        load([str(fer(tmp_path / "x.csv", "1,2", header="path,label"))], SIZE)


# --- EMOTIC ---


def cell(*names: str) -> Any:
    """A MATLAB cell array of words."""
    array = np.empty((1, len(names)), object)
    array[0, :] = names
    return array


def struct(**fields: Any) -> Any:
    """A MATLAB struct."""
    made = np.empty((1, 1), [(name, object) for name in fields])
    for name, value in fields.items():
        made[0, 0][name] = value
    return made


def structs(*made: Any) -> Any:
    return np.concatenate(made, axis=1)


def person(box: list[float], *categories: str, **more: Any) -> Any:
    said = struct(categories=cell(*categories))
    return struct(body_bbox=np.array([box]), annotations_categories=said, **more)


def agreed(box: list[float], first: str, second: str, *combined: str) -> Any:
    """As val and test have it: two annotators, and what they come to together."""
    said = structs(struct(categories=cell(first)), struct(categories=cell(second)))
    return struct(
        body_bbox=np.array([box]), annotations_categories=said, combined_categories=cell(*combined)
    )


def picture(name: str, *people: Any) -> Any:
    size = struct(n_col=30.0, n_row=20.0)
    return struct(filename=name, folder="mscoco/images", image_size=size, person=structs(*people))


@pytest.fixture
def emotic(tmp_path: Path) -> Path:
    """Two pictures to train on, one for each of val and test; the left half of each is dark, the right light."""
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
            *(
                person([0, 0, 14, 20], "Anger", face_bbox=found)
                for found in (face, np.empty((0, 0)))
            ),
        ),
    }
    (tmp_path / "Annotations").mkdir()
    scipy.io.savemat(tmp_path / "Annotations" / "Annotations.mat", parts)
    return tmp_path / "Annotations" / "Annotations.mat"


def shares(target: Any) -> dict[str, float]:
    return {EMOTIONS[i]: float(target[i]) for i in np.flatnonzero(target)}


def test_emotics_people_are_cropped_and_keep_their_categories_in_equal_shares(emotic: Path) -> None:
    data = load([str(emotic)], SIZE)
    assert data.images[:, 4, 4, 0].tolist() == [40, 220, 40]
    assert data.soft is not None
    assert [shares(target) for target in data.soft] == [
        {"peace": 1.0},
        {"peace": 0.5, "doubt_confusion": 0.5},
        {"happiness": 0.25, "peace": 0.25, "pleasure": 0.25, "esteem": 0.25},
    ]
    assert set(data.seen()) == {"peace", "doubt_confusion", "happiness", "pleasure", "esteem"}


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
    with pytest.raises(DataError, match="its people have no face_bbox; ask for the body instead"):
        load([f"{emotic},train,face"], SIZE)


def test_a_few_broken_missing_or_misplaced_people_of_emotic_are_left_out_and_said(
    emotic: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As published, it has some, and one who removes them should not be stopped by their absence."""
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
    assert data.name == "Annotations.mat (train, body) without 3 who can't be cropped"
    assert "left out 3 of its people, the first because: " in caplog.text
    assert "gone.png, which is not there" in caplog.text
    (images / "b.png").unlink()
    with pytest.raises(DataError, match=r"4 of its 304 people can't be trained on"):
        load([str(emotic)], SIZE)


def test_a_missing_picture_of_emotic_is_named_with_where_to_put_it(emotic: Path) -> None:
    (emotic.parents[1] / "emotic/mscoco/images/b.png").unlink()
    with pytest.raises(
        DataError,
        match=r"names mscoco/images/b\.png, which is not there; put EMOTIC's image folders in",
    ):
        load([str(emotic)], SIZE)


@pytest.mark.parametrize(
    ("train", "said"),
    [
        (
            picture("a.png", person([0, 0, 9, 9], "Joy")),
            "has a category 'Joy', which is none of the 28",
        ),
        (picture("a.png", person([40, 0, 50, 9], "Peace")), "the box .* lies outside the picture"),
        (
            picture("a.png", person([0, 0, 0, 9], "Peace")),
            "has no person with a category and a body in its train",
        ),
        (
            picture("../../../a.png", person([0, 0, 9, 9], "Peace")),
            r"names .*a\.png, which is not there",
        ),
        (struct(filename="a.png"), "is not EMOTIC's annotations, or not whole"),
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
def test_what_is_no_matlab_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "Annotations.mat").write_bytes(content)
    with pytest.raises(DataError, match="is not EMOTIC's annotations, or not whole"):
        load([str(tmp_path / "Annotations.mat")], SIZE)


# --- All of them ---


def test_several_sources_are_merged(folder: Path, pair: Path) -> None:
    data = load([str(folder), str(pair)], SIZE)
    assert len(data) == 7
    assert data.name == "faces/train, train_data.npy"
    assert data.balance()["happiness"] == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nowhere.csv", "nowhere.csv is no file"),
        (
            "fer2013.csv,val",
            "has no option 'val'; those of its kind: training, publictest, privatetest",
        ),
        ("train_data.npy,train", "has no option 'train'; those of its kind: none"),
        ("", "has no path"),
    ],
)
def test_a_source_that_makes_no_sense_is_refused(text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        load([text], SIZE)


def test_two_options_that_exclude_each_other_are_refused(emotic: Path) -> None:
    with pytest.raises(DataError, match="is asked for as train and val; give one of"):
        load([f"{emotic},train,val"], SIZE)


def test_a_comma_in_a_path_is_part_of_it(tmp_path: Path) -> None:
    save_image(tmp_path / "a, b" / "sad" / "1.png", 5)
    assert len(load([str(tmp_path / "a, b")], SIZE)) == 1
