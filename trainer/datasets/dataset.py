"""Labelled images for training, and how they are told apart, split and written."""

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError
from models.labels import EMOTIONS


@dataclass(frozen=True)
class Dataset:
    """Images before scaling, and their labels.

    Attributes:
        images: uint8 (n, height, width, 3), in the preprocessing's channel order.
        labels: int64 (n,), each an index into `EMOTIONS`.
        name: what the model card calls this data, such as `fer2013/train`.
        soft: float32 (n, 28), rows summing to 1: what each image's scores should be, where it isn't one label alone.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    name: str
    soft: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def targets(self, chosen: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 (n, 28): what the chosen images' scores should be."""
        if self.soft is not None:
            return np.asarray(self.soft[chosen], np.float32)
        return np.asarray(np.eye(len(EMOTIONS))[self.labels[chosen]], np.float32)

    def take(self, chosen: NDArray[np.int64]) -> Self:
        """The chosen images, in that order."""
        soft = None if self.soft is None else self.soft[chosen]
        return replace(self, images=self.images[chosen], labels=self.labels[chosen], soft=soft)

    def prior(self) -> NDArray[np.float32]:
        """float32 (28,): the same share for every label that the data has, 0 for the others."""
        seen = np.isin(np.arange(len(EMOTIONS)), self.labels)
        return np.asarray(seen / seen.sum(), np.float32)

    def is_grey(self) -> bool:
        """Whether no image has any colour."""
        first = self.images[..., :1]
        return bool((self.images == first).all())

    def seen(self) -> tuple[str, ...]:
        """The labels that some image's target has a share of, in label order."""
        shares = self.targets(np.arange(len(self))).sum(axis=0)
        return tuple(EMOTIONS[i] for i in np.flatnonzero(shares))

    def balance(self) -> dict[str, int]:
        """Images by label, in label order, labels without any left out; a soft target counts by its `labels`."""
        counts = Counter(self.labels.tolist())
        return {EMOTIONS[i]: counts[i] for i in sorted(counts)}


def merge(parts: Sequence[Dataset]) -> Dataset:
    """One data set of several; where one of them has soft targets, the others' labels become such."""
    if len(parts) == 1:
        return parts[0]
    soft = (
        [part.targets(np.arange(len(part))) for part in parts]
        if any(p.soft is not None for p in parts)
        else None
    )
    return Dataset(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.labels for part in parts]),
        ", ".join(part.name for part in parts),
        None if soft is None else np.concatenate(soft),
    )


def drop_shared(train: Dataset, validation: Dataset) -> Dataset:
    """`train` without the pictures that `validation` has too, by the SHA-256 of their pixels.

    Raises:
        DataError: it has no others.
    """
    held_out = {_digest(image) for image in validation.images}
    kept = np.flatnonzero([_digest(image) not in held_out for image in train.images])
    if not len(kept):
        raise DataError(
            f"Every picture of {train.name} is in {validation.name} too; give other ones to train on."
        )
    return train if len(kept) == len(train) else train.take(kept)


def _digest(image: NDArray[np.uint8]) -> bytes:
    return hashlib.sha256(image.tobytes()).digest()


def split(data: Dataset, fraction: float, seed: int) -> tuple[Dataset, Dataset]:
    """Splits off a share of every label for validation (the reference's split: 0.2, seed 0).

    Returns:
        (train, validation), each in shuffled order; a label with a single image stays in train.

    Raises:
        DataError: too few images to hold out one.
    """
    rng = np.random.default_rng(seed)
    train: list[NDArray[np.int64]] = []
    validation: list[NDArray[np.int64]] = []
    for label in np.unique(data.labels):
        members = rng.permutation(np.flatnonzero(data.labels == label))
        held_out = round(len(members) * fraction)
        validation.append(members[:held_out])
        train.append(members[held_out:])
    parts = (rng.permutation(np.concatenate(train)), rng.permutation(np.concatenate(validation)))
    if not len(parts[1]):
        raise DataError(
            f"{len(data)} images are too few to hold out {fraction:.0%} of them for validation."
        )
    return data.take(parts[0]), data.take(parts[1])


def write_pair(data: Dataset, folder: Path, prefix: str) -> tuple[Path, Path]:
    """Writes the reference's pair, `<prefix>_data.npy` and `<prefix>_labels.npy`, each by rename.

    Args:
        data: in R, G, B order; the file's is the reference's: B, G, R.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = folder / f"{prefix}_data.npy", folder / f"{prefix}_labels.npy"
    for path, array in zip(files, (data.images[..., ::-1], data.labels), strict=True):
        beside = path.with_name(f".{path.name}.new")
        with beside.open("wb") as file:
            np.save(file, np.ascontiguousarray(array))
        os.replace(beside, path)
    return files
