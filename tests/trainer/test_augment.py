"""Augmentation: each change on its own, on images small enough to check."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.augment import Augmentation, mix

STILL = Augmentation(degrees=0, zoom=0, shift=0, contrast=0, brightness=0, erase=0, mixup=0)


def gradient(count: int = 64, side: int = 16) -> NDArray[np.uint8]:
    """Dark at the left, light at the right."""
    row = np.linspace(20, 220, side).astype(np.uint8)
    return np.asarray(np.tile(row[None, None, :, None], (count, side, 1, 3)), np.uint8)


def change(
    images: NDArray[np.uint8], size: int = 16, seed: int = 0, **options: Any
) -> NDArray[np.uint8]:
    return replace(STILL, **options).apply(images, size, np.random.default_rng(seed))


def test_without_any_change_an_image_is_itself_or_its_mirror_image_about_as_often() -> None:
    images = gradient()
    changed = change(images)
    same = (changed == images).all(axis=(1, 2, 3))
    mirrored = (changed == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (same | mirrored).all()
    assert 16 < same.sum() < 48


@pytest.mark.parametrize(
    "options",
    [
        {"degrees": 20.0},
        {"zoom": 0.3},
        {"shift": 4},
        {"contrast": 0.5},
        {"brightness": 60.0},
        {"gain": 0.5},
        {"coarse": 1.0},
        {"compress": 1.0},
        {"erase": 1.0},
    ],
)
def test_each_change_alone_makes_images_differ_and_keeps_their_form(
    options: dict[str, Any],
) -> None:
    images = np.random.default_rng(1).integers(0, 256, (32, 16, 16, 3), np.uint8)
    changed = change(images, **options)
    assert changed.dtype == np.uint8
    assert changed.shape == (32, 16, 16, 3)
    assert len(np.unique(changed.reshape(32, -1), axis=0)) == 32
    differs = (changed != images) & (changed != images[:, :, ::-1])
    assert differs.any(axis=(1, 2, 3)).mean() > 0.9


def test_an_image_that_is_only_shifted_and_mirrored_keeps_its_pixels() -> None:
    images = np.random.default_rng(1).integers(0, 256, (32, 16, 16, 3), np.uint8)
    for image, moved in zip(images, change(images, shift=4), strict=True):
        middle = moved[6:10, 6:10]
        places = [image[y : y + 4, x : x + 4] for y in range(2, 11) for x in range(2, 11)]
        assert any((middle == place).all() or (middle == place[:, ::-1]).all() for place in places)


def test_turning_and_shifting_leave_no_black_edge() -> None:
    white = np.full((32, 16, 16, 3), 255, np.uint8)
    assert (change(white, degrees=12.0, shift=4, zoom=0.12) > 250).all()


def test_a_share_of_the_images_stays_sharp_among_turned_ones() -> None:
    images = np.random.default_rng(1).integers(0, 256, (64, 16, 16, 3), np.uint8)
    changed = change(images, degrees=20.0, zoom=0.3, still=0.5)
    sharp = (changed == images) | (changed == images[:, :, ::-1])
    assert 16 < sharp.all(axis=(1, 2, 3)).sum() < 48


def test_a_coarse_image_loses_detail_and_keeps_its_grey() -> None:
    images = np.random.default_rng(1).integers(0, 256, (32, 16, 16, 3), np.uint8)
    coarse = change(images, coarse=1.0)
    assert (coarse.std(axis=(1, 2, 3)) < images.std(axis=(1, 2, 3))).all()
    assert np.abs(coarse.mean(axis=(1, 2, 3)) - images.mean(axis=(1, 2, 3))).max() < 3


def test_a_smaller_size_holds_the_whole_face() -> None:
    small = change(gradient(), size=8)
    assert small.shape == (64, 8, 8, 3)
    ends = np.sort(small[:, 4, [0, -1], 0].astype(int), axis=1)
    assert (ends[:, 0] < 40).all()
    assert (ends[:, 1] > 200).all()


def test_the_same_seed_gives_the_same_images_and_another_others() -> None:
    everything = Augmentation()
    images = gradient()
    first, again, other = (
        everything.apply(images, 16, np.random.default_rng(seed)) for seed in (0, 0, 1)
    )
    assert (first == again).all()
    assert (first != other).any()


def test_sizes_go_by_the_share_of_the_epochs() -> None:
    staged = Augmentation(sizes=((0.4, 32), (0.7, 40)))
    assert [staged.size(48, epoch, 10) for epoch in (1, 4, 5, 7, 8, 10)] == [32, 32, 40, 40, 48, 48]
    assert Augmentation().size(48, 1, 10) == 48


def test_the_last_epochs_are_sharp() -> None:
    ending = Augmentation(sharp=0.1)
    assert [ending.at(epoch, 20) == ending for epoch in (1, 18, 19, 20)] == [
        True,
        True,
        False,
        False,
    ]
    assert ending.at(20, 20) == replace(ending, degrees=0, zoom=0, mixup=0)
    assert Augmentation().at(20, 20) == Augmentation()


def test_mixup_blends_inputs_and_targets_alike() -> None:
    inputs = np.linspace(0, 1, 8, dtype=np.float32).reshape(8, 1)
    targets = np.eye(8, dtype=np.float32)
    mixed, blended = mix(inputs, targets, 1.0, np.random.default_rng(0))
    assert np.allclose(blended.sum(axis=1), 1)
    assert np.allclose(mixed[:, 0], blended @ inputs[:, 0])
    assert (blended.max(axis=1) < 1).any()
