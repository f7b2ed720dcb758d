"""Batches: sizes and targets as the recipe asks for them."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from tests.trainer.small_runs import FULL, dark_and_light, new_run
from trainer.augment import Augmentation
from trainer.batches import Batches
from trainer.candidates import Shape
from trainer.fit import fit
from trainer.progress import Silent


def test_faces_are_small_in_early_epochs_and_whole_in_the_last(tmp_path: Path) -> None:
    sides: list[int] = []

    def watched(input_shape: Shape, num_classes: int) -> keras.Model:
        """Records the sizes it is built for; training must build it only once, for any size."""
        if input_shape[0] is None:
            sides.append(0)
        inputs = keras.Input(input_shape)
        x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu")(inputs))
        return keras.Model(
            inputs, layers.Dense(num_classes, activation="softmax", dtype="float32")(x), name="tiny"
        )

    candidate = replace(FULL, build=watched, augmentation=Augmentation(sizes=((0.5, 6),)))
    run = new_run(tmp_path, candidate)
    fit(run, dark_and_light(0), dark_and_light(1), Silent())
    assert len(run.history) == 4
    assert sides == [0]
    batches = [Batches(dark_and_light(0), run, epoch)[0][0].shape for epoch in (1, 2, 3, 4)]
    assert batches == [(16, 6, 6, 3)] * 2 + [(16, 8, 8, 3)] * 2


def test_soft_targets_are_not_smoothed(tmp_path: Path) -> None:
    soft = np.zeros((64, 28), np.float32)
    soft[:, :2] = 0.25, 0.75
    run = new_run(tmp_path, replace(FULL, augmentation=None))
    _, targets = Batches(replace(dark_and_light(0), soft=soft), run, epoch=1)[0]
    assert (targets == soft[:16]).all()
    _, smoothed = Batches(dark_and_light(0), run, epoch=1)[0]
    assert sorted(smoothed[0])[-2:] == pytest.approx([0.05, 0.95])
