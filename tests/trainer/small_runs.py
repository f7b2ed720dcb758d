"""Networks and data small enough to fit in a second, and ways to interrupt a run."""

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from models.pictures.preprocessing import Preprocessing
from trainer.augment import Augmentation
from trainer.candidates import Candidate, Shape
from trainer.datasets.dataset import Dataset
from trainer.fit import fit
from trainer.progress import Silent
from trainer.run import Run

SIZE = Preprocessing(height=8, width=8)


def build(input_shape: Shape, num_classes: int) -> keras.Model:
    """Has every kind of state that a checkpoint must keep, such as moving statistics."""
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(num_classes, activation="softmax", dtype="float32"),
        ],
        name="tiny",
    )


TINY = Candidate(
    "tiny", build, lambda _steps: keras.optimizers.Adam(1e-2), epochs=4, patience=4, batch_size=16
)
QUICK = replace(TINY, epochs=1)
FULL = replace(
    TINY,
    optimizer=lambda steps: keras.optimizers.SGD(
        keras.optimizers.schedules.CosineDecay(
            0.01, 3 * steps, warmup_target=0.05, warmup_steps=steps
        )
    ),
    augmentation=Augmentation(),
    label_smoothing=0.1,
    averaging=0.9,
)
"""With all that a recipe can ask for."""


def dark_and_light(seed: int, count: int = 64) -> Dataset:
    """Noise that is darker for label 0 and lighter for label 1, so it is easy to learn."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    images = random.integers(0, 150, (count, 8, 8, 3)) + 100 * labels[:, None, None, None]
    return Dataset(images.astype(np.uint8), labels.astype(np.int64), "noise")


def mislabelled() -> Dataset:
    """The more a network learns from `dark_and_light`, the worse it does here."""
    data = dark_and_light(2)
    return replace(data, labels=1 - data.labels)


def new_run(folder: Path, candidate: Candidate = TINY, policy: str = "float32") -> Run:
    return Run(folder, candidate, SIZE, policy=policy)


class Killed(BaseException):
    """Stands for kill -9: nothing handles it."""


class KilledInEpoch(Silent):
    """Strikes in the middle of an epoch."""

    def __init__(self, epoch: int, strike: Callable[[], None]) -> None:
        self._epoch = epoch
        self._strike = strike

    def batch(self, epoch: int, done: int, total: int) -> None:
        if (epoch, done) == (self._epoch, 2):
            self._strike()


class Recorder(Silent):
    def __init__(self) -> None:
        self.epochs: list[int] = []

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        self.epochs.append(epoch)


def strike() -> None:
    raise Killed


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fit_until_killed(folder: Path) -> None:
    """The whole life of a process that is killed in its third epoch."""
    fit(new_run(folder), dark_and_light(0), dark_and_light(1), KilledInEpoch(3, kill_self))


def histories_agree(first: Run, second: Run) -> bool:
    """Whether two runs had the same metrics, whatever time they took."""
    if len(first.history) != len(second.history):
        return False
    return all(
        {**epoch, "seconds": 0} == pytest.approx({**other, "seconds": 0}, rel=1e-4)
        for epoch, other in zip(first.history, second.history, strict=True)
    )
