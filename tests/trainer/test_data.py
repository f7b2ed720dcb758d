"""Labelled folders: read whole and in order, or refused with the name of what is wrong."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.errors import DataError
from models.labels import EMOTIONS
from models.preprocessing import Preprocessing
from trainer.data import Dataset, load_folder, split

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


def dataset(counts: dict[str, int]) -> Dataset:
    """Images that each hold their own number, so that one can be told from another."""
    labels = np.repeat([EMOTIONS.index(label) for label in counts], list(counts.values()))
    numbers = np.arange(len(labels), dtype=np.uint8)
    return Dataset(np.tile(numbers[:, None, None, None], (1, 8, 8, 3)), labels.astype(np.int64), "made up")


def test_images_are_read_in_order_of_label_folder_and_name(folder: Path) -> None:
    data = load_folder(folder, SIZE)
    assert data.images.dtype == np.uint8
    assert data.images.shape == (3, 8, 8, 3)
    assert data.images[:, 0, 0, 0].tolist() == [30, 10, 20]
    assert [EMOTIONS[label] for label in data.labels] == ["doubt_confusion", "happiness", "happiness"]
    assert data.source == "faces/train"


def test_balance_counts_images_in_label_order(folder: Path) -> None:
    assert list(load_folder(folder, SIZE).balance().items()) == [("doubt_confusion", 1), ("happiness", 2)]


def test_progress_is_told_of_every_image(folder: Path) -> None:
    told: list[tuple[int, int]] = []
    load_folder(folder, SIZE, lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_what_is_no_image_or_hidden_is_passed_over(folder: Path) -> None:
    (folder / "README.txt").write_text("about")
    (folder / "happy" / "notes.txt").write_text("about")
    (folder / "happy" / "._a.png").write_bytes(b"left by a file manager")
    (folder / ".cache").mkdir()
    assert len(load_folder(folder, SIZE)) == 3


def test_a_broken_image_is_named_with_its_remedy(folder: Path) -> None:
    (folder / "happy" / "broken.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"happy/broken\.png can't be trained on: .* Remove it or mend it"):
        load_folder(folder, SIZE)


def test_a_folder_that_names_no_label_is_refused(folder: Path) -> None:
    save_image(folder / "cheerful" / "d.png", 1)
    with pytest.raises(DataError, match=r"cheerful names no label; expected one of the 28 \(affection"):
        load_folder(folder, SIZE)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere is not a folder"):
        load_folder(tmp_path / "nowhere", SIZE)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "happy").mkdir()
    with pytest.raises(DataError, match="has no image in subfolders named by label"):
        load_folder(tmp_path, SIZE)


def test_reading_in_threads_leaves_the_warning_filters_alone(folder: Path) -> None:
    for number in range(200):
        save_image(folder / "sad" / f"{number}.png", number)
    before = list(warnings.filters)
    load_folder(folder, SIZE)
    assert list(warnings.filters) == before


def test_a_split_holds_out_a_fifth_of_each_label() -> None:
    train, validation = split(dataset({"anger": 50, "fear": 10, "neutral": 1}), 0.2, seed=0)
    assert train.balance() == {"anger": 40, "fear": 8, "neutral": 1}
    assert validation.balance() == {"anger": 10, "fear": 2}


def test_a_split_keeps_every_image_once_and_with_its_label() -> None:
    data = dataset({"anger": 50, "fear": 10})
    parts = split(data, 0.2, seed=0)
    numbers = np.concatenate([part.images[:, 0, 0, 0] for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    assert sorted(numbers) == list(range(60))
    assert (labels == data.labels[numbers]).all()


def test_a_split_is_the_same_for_the_same_seed_only() -> None:
    data = dataset({"anger": 50, "fear": 10})
    first, again, other = (split(data, 0.2, seed)[1].images[:, 0, 0, 0].tolist() for seed in (0, 0, 1))
    assert first == again != other


def test_a_split_of_too_few_images_is_refused() -> None:
    with pytest.raises(DataError, match="2 images are too few to hold out 20%"):
        split(dataset({"anger": 2}), 0.2, seed=0)
