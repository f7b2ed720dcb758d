"""Folders of images: read in order, or refused with the name of the file or folder at fault."""

from pathlib import Path

import numpy as np
import pytest

from models.errors import DataError
from models.labels import EMOTIONS
from models.pictures.preprocessing import Preprocessing
from tests.builders import save_grey
from trainer.datasets.load import load

SIZE = Preprocessing(height=8, width=8)


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


def test_progress_is_reported_for_every_image(folder: Path) -> None:
    calls: list[tuple[int, int]] = []
    load([str(folder)], SIZE, lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_hidden_files_and_other_types_are_skipped(folder: Path) -> None:
    (folder / "README.txt").write_text("about")
    (folder / "happy" / "notes.txt").write_text("about")
    (folder / "happy" / "._a.png").write_bytes(b"left by a file manager")
    (folder / ".cache").mkdir()
    assert len(load([str(folder)], SIZE)) == 3


def test_a_broken_image_is_named_with_its_remedy(folder: Path) -> None:
    (folder / "happy" / "broken.png").write_bytes(b"no image")
    with pytest.raises(
        DataError, match=r"Cannot train on .*happy/broken\.png: .* Repair or remove it"
    ):
        load([str(folder)], SIZE)


def test_a_folder_not_named_after_a_label_is_refused(folder: Path) -> None:
    save_grey(folder / "cheerful" / "d.png", 1)
    with pytest.raises(
        DataError,
        match=r"cheerful is not named after a label. Expected one of the 28 emotions \(aff",
    ):
        load([str(folder)], SIZE)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere is not a folder"):
        load([str(tmp_path / "nowhere")], SIZE)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "happy").mkdir()
    with pytest.raises(DataError, match="has no images in subfolders named after labels"):
        load([str(tmp_path)], SIZE)


@pytest.mark.parametrize(
    ("name", "emotion"),
    [
        ("disgusted", "disgust"),
        ("Fearful", "fear"),
        ("surprised", "surprise"),
        ("ANGRY", "anger"),
        ("Doubt Confusion", "doubt_confusion"),
    ],
)
def test_a_label_may_be_spelled_as_other_data_sets_do(
    tmp_path: Path, name: str, emotion: str
) -> None:
    save_grey(tmp_path / name / "a.png", 1)
    assert list(load([str(tmp_path)], SIZE).balance()) == [emotion]


def test_images_in_deeper_folders_are_read(folder: Path) -> None:
    save_grey(folder / "happy" / "person 1" / "cam" / "d.png", 40)
    data = load([str(folder)], SIZE)
    assert data.images[:, 0, 0, 0].tolist() == [30, 10, 20, 40]


def test_copies_in_hidden_and_system_folders_are_passed_over(folder: Path) -> None:
    save_grey(folder / "happy" / ".ipynb_checkpoints" / "a-checkpoint.png", 10)
    save_grey(folder / "happy" / "@eaDir" / "a.png" / "thumb.png", 10)
    save_grey(folder / "@eaDir" / "happy" / "thumb.png", 10)
    assert len(load([str(folder)], SIZE)) == 3


def test_a_link_to_a_deeper_folder_is_named(folder: Path, tmp_path: Path) -> None:
    save_grey(tmp_path / "elsewhere" / "d.png", 40)
    (folder / "happy" / "more").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"Cannot train on .*happy/more: "):
        load([str(folder)], SIZE)
