"""Data sets: merged, split, deduplicated and written without losing an image or a label."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.errors import DataError
from models.labels import EMOTIONS
from trainer.datasets.dataset import Dataset, drop_shared, merge, split, write_pair


def dataset(counts: dict[str, int]) -> Dataset:
    """Images filled with their own number, so that each can be recognised."""
    labels = np.repeat([EMOTIONS.index(label) for label in counts], list(counts.values()))
    numbers = np.arange(len(labels), dtype=np.uint8)
    return Dataset(
        np.tile(numbers[:, None, None, None], (1, 8, 8, 3)), labels.astype(np.int64), "made up"
    )


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
    first, again, other = (
        split(data, 0.2, seed)[1].images[:, 0, 0, 0].tolist() for seed in (0, 0, 1)
    )
    assert first == again != other


def test_a_split_of_too_few_images_is_refused() -> None:
    with pytest.raises(DataError, match="2 images are too few to hold out 20%"):
        split(dataset({"anger": 2}), 0.2, seed=0)


def test_a_split_keeps_soft_targets_with_their_images() -> None:
    data = dataset({"anger": 50, "fear": 10})
    soft = np.random.default_rng(0).dirichlet(np.ones(28), 60).astype(np.float32)
    for part in split(replace(data, soft=soft), 0.2, seed=0):
        assert (part.targets(np.arange(len(part))) == soft[part.images[:, 0, 0, 0]]).all()


def test_targets_are_the_label_alone_unless_they_are_soft() -> None:
    assert dataset({"anger": 2}).targets(np.array([1])).nonzero()[1].tolist() == [
        EMOTIONS.index("anger")
    ]


def test_merged_data_keeps_every_image_and_turns_labels_soft_where_others_are() -> None:
    hard, softer = dataset({"anger": 3}), dataset({"fear": 2})
    soft = np.full((2, 28), 1 / 28, np.float32)
    merged = merge([hard, replace(softer, soft=soft, name="other")])
    assert (merged.balance(), merged.name) == ({"anger": 3, "fear": 2}, "made up, other")
    assert (
        merged.targets(np.arange(5)) == np.concatenate([hard.targets(np.arange(3)), soft])
    ).all()


def test_a_picture_in_both_splits_is_dropped_from_the_one_that_is_trained_on() -> None:
    train, validation = (
        dataset({"anger": 6}),
        dataset({"fear": 2}),
    )  # Numbered alike, so two pictures are shared.
    assert drop_shared(train, validation).images[:, 0, 0, 0].tolist() == [2, 3, 4, 5]


def test_a_picture_that_is_nearly_in_both_splits_is_dropped_too() -> None:
    random = np.random.default_rng(0)
    faces = random.integers(40, 200, (6, 12, 12, 3), dtype=np.uint8)
    train = replace(dataset({"anger": 6}), images=faces)

    # One held-out picture is lighter and noisier than the third, another has little in common.
    noise = random.integers(-5, 6, faces[2].shape)
    copy = np.clip(faces[2] * 1.1 + 9 + noise, 0, 255).astype(np.uint8)
    blended = (faces[4] // 2 + random.integers(0, 100, faces[4].shape)).astype(np.uint8)
    validation = replace(dataset({"fear": 2}), images=np.stack([copy, blended]))

    assert (drop_shared(train, validation).images == np.delete(faces, 2, axis=0)).all()


def test_without_a_shared_picture_all_are_kept() -> None:
    train = dataset({"anger": 6})
    other = replace(train, images=train.images + 100)
    assert len(drop_shared(train, other)) == 6


def test_sharing_every_picture_is_refused() -> None:
    with pytest.raises(DataError, match="Every picture of made up is also in made up"):
        drop_shared(dataset({"anger": 2}), dataset({"anger": 6}))


def test_a_pair_is_written_in_the_references_form(tmp_path: Path) -> None:
    data = dataset({"anger": 2})
    data.images[:, :, :, 0] = 200
    files = write_pair(data, tmp_path / "out", "train")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "train_data.npy",
        "train_labels.npy",
    ]
    images, labels = (np.load(path) for path in files)
    assert (images.dtype, labels.tolist()) == (np.uint8, [1, 1])
    assert images[1, 0, 0].tolist() == [1, 1, 200]  # B, G, R.
