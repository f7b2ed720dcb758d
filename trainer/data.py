"""Labelled images for training: a folder with one subfolder a label."""

import os
import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError, ImageError
from models.images import SUFFIXES, decode
from models.labels import EMOTIONS, FER2013
from models.preprocessing import Preprocessing

THREADS: Final = min(16, os.cpu_count() or 1)  # Pillow lets go of the interpreter while it decodes.

Read = Callable[[int, int], None]
"""Called with the images read so far, and those there are."""


@dataclass(frozen=True)
class Dataset:
    """Images before scaling, and their labels.

    Attributes:
        images: uint8 (n, height, width, 3), in the preprocessing's channel order.
        labels: int64 (n,), each an index into `EMOTIONS`.
        source: where they came from, for the model's card.
        soft: float32 (n, 28), rows summing to 1: what each image's scores should be, where it isn't one label alone.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    source: str
    soft: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def targets(self, chosen: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 (n, 28): what the chosen images' scores should be."""
        if self.soft is not None:
            return self.soft[chosen]
        return np.eye(len(EMOTIONS), dtype=np.float32)[self.labels[chosen]]

    def prior(self) -> NDArray[np.float32]:
        """float32 (28,): the same share for every label that the data has, 0 for the others."""
        seen = np.isin(np.arange(len(EMOTIONS)), self.labels)
        return (seen / seen.sum()).astype(np.float32)

    def is_grey(self) -> bool:
        """Whether no image has any colour."""
        first = self.images[..., :1]
        return bool((self.images == first).all())

    def balance(self) -> dict[str, int]:
        """Images by label, in label order, labels without any left out."""
        counts = Counter(self.labels.tolist())
        return {EMOTIONS[i]: counts[i] for i in sorted(counts)}


def load_folder(root: Path, preprocessing: Preprocessing, progress: Read = lambda done, total: None) -> Dataset:
    """Reads `root/<label>/*`, where a label is one of the 28 or a class of FER-2013 (`angry`, `happy`, ...).

    Args:
        progress: called with the images read so far, and those there are.

    Raises:
        DataError: no such folder, a subfolder that names no label, no image, or an image that can't be decoded.
    """
    files = _list(root)
    images = np.empty((len(files), preprocessing.height, preprocessing.width, 3), np.uint8)
    # `decode` silences Pillow's warnings for all threads at once, and they would undo each other's silence.
    with warnings.catch_warnings(action="ignore"), ThreadPoolExecutor(THREADS) as threads:
        for i, pixels in enumerate(threads.map(lambda file: _read(file[0], preprocessing), files)):
            images[i] = pixels
            progress(i + 1, len(files))
    return Dataset(images, np.array([label for _, label in files], np.int64), f"{root.parent.name}/{root.name}")


def _list(root: Path) -> list[tuple[Path, int]]:
    """The images and their labels' indices, in stable order; names that begin with a dot are left out."""
    if not root.is_dir():
        raise DataError(f"{root} is not a folder; expected one with a subfolder for each label.")
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    files = [
        (path, label)
        for folder, label in [(folder, _label(folder)) for folder in folders]
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    ]
    if not files:
        raise DataError(f"{root} has no image in subfolders named by label; accepted: {', '.join(sorted(SUFFIXES))}.")
    return files


def _label(folder: Path) -> int:
    name = FER2013.get(folder.name.lower(), folder.name.lower())
    if name not in EMOTIONS:
        raise DataError(
            f"{folder} names no label; expected one of the 28 ({', '.join(EMOTIONS)}) or of FER-2013's classes "
            f"({', '.join(FER2013)})."
        )
    return EMOTIONS.index(name)


def _read(path: Path, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    try:
        return preprocessing.resize(decode(path.read_bytes(), preprocessing.size))
    except (ImageError, OSError) as error:
        raise DataError(f"{path} can't be trained on: {error} Remove it or mend it.") from error


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
        raise DataError(f"{len(data)} images are too few to hold out {fraction:.0%} of them for validation.")
    first, second = (Dataset(data.images[part], data.labels[part], data.source) for part in parts)
    return first, second
