"""Batches of training and validation data, as Keras asks for them."""

import math

import keras
import numpy as np
from numpy.typing import NDArray

from trainer.augment import mix
from trainer.datasets.dataset import Dataset
from trainer.run import Run

Batch = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Inputs (n, height, width, 3) and target scores (n, 28)."""


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """A data set in batches of a run's size.

    Args:
        epoch: for training: shuffle and augment for this epoch, in a way that only the run's seed,
            the epoch and the batch decide, so that a resumed run sees the same images. None, for
            validation, keeps the images as they are, in order.
    """

    def __init__(self, data: Dataset, run: Run, epoch: int | None = None) -> None:
        super().__init__(workers=1, max_queue_size=4)
        self._data = data
        self._run = run
        self._epoch = epoch
        self._order = np.arange(len(data))
        if epoch is not None:
            self._order = self._random(epoch).permutation(len(data))

    def __len__(self) -> int:
        return math.ceil(len(self._order) / self._run.candidate.batch_size)

    def __getitem__(self, index: int) -> Batch:
        size = self._run.candidate.batch_size
        chosen = self._order[index * size : (index + 1) * size]
        images = self._data.images[chosen]
        targets = self._data.targets(chosen)

        if self._epoch is None:
            return self._run.preprocessing.to_input(images), targets
        if self._data.soft is None:
            targets = self._smooth(targets)
        return self._augment(images, targets, self._epoch, self._random(self._epoch, index))

    def _smooth(self, targets: NDArray[np.float32]) -> NDArray[np.float32]:
        """Spreads a share of each target evenly over the labels that the data has."""
        smoothing = self._run.candidate.label_smoothing
        return targets * (1 - smoothing) + smoothing * self._data.prior()

    def _augment(
        self,
        images: NDArray[np.uint8],
        targets: NDArray[np.float32],
        epoch: int,
        random: np.random.Generator,
    ) -> Batch:
        candidate, preprocessing = self._run.candidate, self._run.preprocessing
        if candidate.augmentation is None:
            return preprocessing.to_input(images), targets

        augmentation = candidate.augmentation.at(epoch, candidate.epochs)
        side = augmentation.size(preprocessing.height, epoch, candidate.epochs)
        inputs = preprocessing.to_input(augmentation.apply(images, side, random))
        if not augmentation.mixup:
            return inputs, targets
        return mix(inputs, targets, augmentation.mixup, random)

    def _random(self, epoch: int, *batch: int) -> np.random.Generator:
        return np.random.default_rng((self._run.seed, epoch, *batch))
