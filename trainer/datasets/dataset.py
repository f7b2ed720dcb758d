"""Labelled images for training: merging, splitting, deduplicating and writing them."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from models.atomic import replacing
from models.errors import DataError
from models.labels import EMOTIONS

NEAR_COPY: Final = 0.9
"""Two pictures whose pixels correlate above this are taken for one. 741 of FER-2013's training
images correlate above it with one of the public test, 370 of them above 0.99. All of 8 random pairs
between 0.89 and 0.92 showed one photograph, 4 of 8 between 0.865 and 0.89 did not."""

BLOCK: Final = 4096
"""Images that are compared at a time, which bounds the memory."""


@dataclass(frozen=True)
class Dataset:
    """Images and their labels, before scaling.

    Attributes:
        images: uint8 (n, height, width, 3), in the preprocessing's channel order.
        labels: int64 (n,), each an index into `EMOTIONS`.
        name: what the model card calls this data, such as `fer2013/train`.
        soft: float32 (n, 28), rows summing to 1: target scores that replace the one-hot labels;
            None to use the labels.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    name: str
    soft: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def targets(self, indices: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """float32 (n, 28): the target scores of the images at `indices`, or of all images."""
        if indices is None:
            indices = np.arange(len(self))
        if self.soft is not None:
            return np.asarray(self.soft[indices], np.float32)
        return np.asarray(np.eye(len(EMOTIONS))[self.labels[indices]], np.float32)

    def take(self, indices: NDArray[np.int64]) -> Self:
        """The images at `indices`, in that order."""
        soft = None if self.soft is None else self.soft[indices]
        return replace(self, images=self.images[indices], labels=self.labels[indices], soft=soft)

    def prior(self) -> NDArray[np.float32]:
        """float32 (28,): equal shares for all labels that occur, 0 for the others."""
        occurs = np.isin(np.arange(len(EMOTIONS)), self.labels)
        return np.asarray(occurs / occurs.sum(), np.float32)

    def is_grey(self) -> bool:
        """Whether every image is colourless."""
        first_channel = self.images[..., :1]
        return bool((self.images == first_channel).all())

    def emotions(self) -> tuple[str, ...]:
        """The emotions with a share in any image's target, in label order."""
        shares = self.targets().sum(axis=0)
        return tuple(EMOTIONS[i] for i in np.flatnonzero(shares))

    def balance(self) -> dict[str, int]:
        """Number of images by emotion, in label order, for the emotions that occur in `labels`."""
        counts = Counter(self.labels.tolist())
        return {EMOTIONS[label]: counts[label] for label in sorted(counts)}


def merge(parts: Sequence[Dataset]) -> Dataset:
    """Concatenates data sets; if any part has soft targets, the merged one has them for all."""
    if len(parts) == 1:
        return parts[0]

    soft = None
    if any(part.soft is not None for part in parts):
        soft = np.concatenate([part.targets() for part in parts])
    return Dataset(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.labels for part in parts]),
        ", ".join(part.name for part in parts),
        soft,
    )


def drop_shared(train: Dataset, validation: Dataset) -> Dataset:
    """Removes from `train` the pictures that `validation` has, too, if only nearly.

    Data sets collected from the web often hold one photograph several times: recompressed,
    a little lighter, cut a pixel wider. Such copies correlate above `NEAR_COPY`.

    Raises:
        DataError: nothing is left.
    """
    held_out = {_digest(image) for image in validation.images}
    exact = np.array([_digest(image) in held_out for image in train.images])

    kept = np.flatnonzero(~exact & (correlate(train, validation) <= NEAR_COPY))
    if not len(kept):
        raise DataError(
            f"Every picture of {train.name} is also in {validation.name}. Use other training data."
        )
    return train if len(kept) == len(train) else train.take(kept)


def _digest(image: NDArray[np.uint8]) -> bytes:
    return hashlib.sha256(image.tobytes()).digest()


def correlate(data: Dataset, others: Dataset) -> NDArray[np.float32]:
    """float32 (n,): how well each image of `data` correlates with the most similar of `others`."""
    rows = _standardise(others.images).T
    blocks = np.split(data.images, range(BLOCK, len(data), BLOCK))
    return np.concatenate([(_standardise(block) @ rows).max(axis=1) for block in blocks])


def _standardise(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The images as rows of mean 0 and length 1, whose products are correlations.

    An image of one grey is a row of zeros, and correlates with nothing.
    """
    rows = images.reshape(len(images), -1).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    rows /= np.where(lengths > 0, lengths, 1)
    return rows


def split(data: Dataset, fraction: float, seed: int) -> tuple[Dataset, Dataset]:
    """Holds out a fraction of every label for validation. The reference uses 0.2 with seed 0.

    Returns:
        (train, validation), each in shuffled order. A label with a single image stays in train.

    Raises:
        DataError: there are too few images to hold one out.
    """
    random = np.random.default_rng(seed)
    train: list[NDArray[np.int64]] = []
    validation: list[NDArray[np.int64]] = []
    for label in np.unique(data.labels):
        members = random.permutation(np.flatnonzero(data.labels == label))
        held_out = round(len(members) * fraction)
        validation.append(members[:held_out])
        train.append(members[held_out:])

    train_indices = random.permutation(np.concatenate(train))
    validation_indices = random.permutation(np.concatenate(validation))
    if not len(validation_indices):
        raise DataError(
            f"{len(data)} images are too few to hold out {fraction:.0%} of them for validation."
        )
    return data.take(train_indices), data.take(validation_indices)


def write_pair(data: Dataset, folder: Path, prefix: str) -> tuple[Path, Path]:
    """Writes the reference's format: `<prefix>_data.npy` and `<prefix>_labels.npy`.

    Args:
        data: images in R, G, B order. The file stores B, G, R, as the reference does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data_file = folder / f"{prefix}_data.npy"
    labels_file = folder / f"{prefix}_labels.npy"
    _write_array(data_file, data.images[..., ::-1])
    _write_array(labels_file, data.labels)
    return data_file, labels_file


def _write_array(path: Path, array: NDArray[np.generic]) -> None:
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, np.ascontiguousarray(array))
