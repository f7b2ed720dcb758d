"""Pairs of NumPy files: opened without copying, or refused with the reason."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.errors import DataError
from models.pictures.preprocessing import Preprocessing
from trainer.datasets.dataset import write_pair
from trainer.datasets.load import load

SIZE = Preprocessing(height=8, width=8)


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
        (lambda d, ls: d.write_bytes(b"no array"), "train_data.npy is not a NumPy array file"),
        (
            lambda d, ls: d.write_bytes(d.read_bytes()[:300]),
            "train_data.npy is not a NumPy array file",
        ),
        (
            lambda d, ls: save(d, np.array([{}], object)),
            "train_data.npy is not a NumPy array file",
        ),
        (
            lambda d, ls: save(d, np.full((4, 8, 8, 3), np.nan)),
            r"train_data.npy contains NaN; expected uint8 pixels",
        ),
        (
            lambda d, ls: save(d, np.zeros((4, 8, 8, 3))),
            r"train_data.npy is float64 .*; expected uint8 of shape \(n, height",
        ),
        (
            lambda d, ls: save(d, np.zeros((4, 8, 8), np.uint8)),
            r"of shape \(4, 8, 8\); expected uint8 of shape \(n, height",
        ),
        (
            lambda d, ls: save(d, np.zeros((0, 8, 8, 3), np.uint8)),
            r"of shape \(0, 8, 8, 3\); expected uint8",
        ),
        (
            lambda d, ls: save(ls, np.array([0, 1])),
            "has 4 images, but train_labels.npy has 2 labels",
        ),
        (
            lambda d, ls: save(ls, np.array([0, 1, 28, 2])),
            "image 2 has label 28; expected a whole number from 0 to 27",
        ),
        (
            lambda d, ls: save(ls, np.array([0, -1, 2, 2])),
            "image 1 has label -1; expected a whole number from 0 to 27",
        ),
        (
            lambda d, ls: save(ls, np.array([0, np.nan, 2, 2])),
            r"train_labels.npy contains NaN; expected labels from 0 to 27",
        ),
        (
            lambda d, ls: save(ls, np.zeros((4, 28))),
            r"train_labels.npy: the scores of image 0 are not a share of 1 for each label",
        ),
        (
            lambda d, ls: save(ls, np.eye(28)[:4] * 2 - np.eye(28)[1:5]),
            r"the scores of image 0 are not a share of 1",
        ),
        (
            lambda d, ls: save(ls, np.eye(7)[:4]),
            r"train_labels.npy is float64 of shape \(4, 7\); expected .*scores of shape \(n, 28\)",
        ),
        (
            lambda d, ls: save(ls, np.array([0, 1.5, 2, 2])),
            "image 1 has label 1.5; expected a whole number from 0 to 27",
        ),
        (
            lambda d, ls: save(ls, np.array([0, np.inf, 2, 2])),
            "image 1 has label inf; expected a whole number",
        ),
        (lambda d, ls: save(ls, np.array(3)), r"int64 of shape \(\); expected integers"),
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
    with pytest.raises(DataError, match=r"is not named x_data\.npy"):
        load([str(pair.with_name("faces.npy"))], SIZE)


LABELS = [0, 27, 16, 1]


@pytest.mark.parametrize(
    "labels",
    [
        np.array(LABELS, np.float32),
        np.array(LABELS, np.float64)[:, None],
        np.eye(28)[LABELS],
        np.eye(28, dtype=np.uint8)[LABELS],
        np.eye(28, dtype=bool)[LABELS],
    ],
)
def test_labels_may_be_floats_or_one_hot(pair: Path, labels: NDArray[Any]) -> None:
    np.save(pair.with_name("train_labels.npy"), labels)
    data = load([str(pair)], SIZE)
    assert data.labels.tolist() == LABELS
    assert data.labels.dtype == np.int64
    assert data.soft is None


def test_scores_of_several_labels_become_soft_targets(pair: Path) -> None:
    scores = 0.75 * np.eye(28)[LABELS] + 0.25 * np.eye(28)[[3, 3, 3, 3]]
    np.save(pair.with_name("train_labels.npy"), scores.astype(np.float16))
    data = load([str(pair)], SIZE)
    assert data.labels.tolist() == LABELS
    assert np.allclose(data.targets(), scores)
