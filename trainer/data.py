"""Labelled images for training: a folder with one subfolder a label."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.errors import DataError, ImageError
from models.images import SUFFIXES, decode
from models.labels import EMOTIONS, FER2013
from models.preprocessing import Preprocessing


@dataclass(frozen=True)
class Dataset:
    """Images before scaling, and their labels.

    Attributes:
        images: uint8 (n, height, width, 3), in the preprocessing's channel order.
        labels: int64 (n,), each an index into `EMOTIONS`.
        source: where they came from, for the model's card.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    source: str

    def __len__(self) -> int:
        return len(self.labels)

    def balance(self) -> dict[str, int]:
        """Images by label, in label order, labels without any left out."""
        counts = Counter(self.labels.tolist())
        return {EMOTIONS[i]: counts[i] for i in sorted(counts)}


def load_folder(root: Path, preprocessing: Preprocessing) -> Dataset:
    """Reads `root/<label>/*`, where a label is one of the 28 or a class of FER-2013 (`angry`, `happy`, ...).

    Raises:
        DataError: no such folder, a subfolder that names no label, no image, or an image that can't be decoded.
    """
    if not root.is_dir():
        raise DataError(f"{root} is not a folder; expected one with a subfolder for each label.")
    files: list[tuple[Path, int]] = []
    for folder in sorted(p for p in root.iterdir() if p.is_dir()):
        name = FER2013.get(folder.name, folder.name)
        if name not in EMOTIONS:
            raise DataError(
                f"{folder} names no label; expected one of the 28 ({', '.join(EMOTIONS)}) or of FER-2013's classes"
                f" ({', '.join(FER2013)})."
            )
        label = EMOTIONS.index(name)
        files += [(p, label) for p in sorted(folder.iterdir()) if p.suffix.lower() in SUFFIXES]
    if not files:
        raise DataError(f"{root} has no image in subfolders named by label; accepted: {', '.join(sorted(SUFFIXES))}.")
    images = np.empty((len(files), preprocessing.height, preprocessing.width, 3), np.uint8)
    for i, (path, _) in enumerate(files):
        try:
            images[i] = preprocessing.resize(decode(path.read_bytes(), preprocessing.size))
        except (ImageError, OSError, Image.DecompressionBombError) as error:
            raise DataError(f"{path} can't be trained on: {error} Remove it or mend it.") from error
    return Dataset(images, np.array([label for _, label in files], np.int64), f"{root.parent.name}/{root.name}")


def split(data: Dataset, fraction: float, seed: int) -> tuple[Dataset, Dataset]:
    """Splits off a share of every label for validation (the reference's split: 0.2, seed 0).

    Returns:
        (train, validation), each in shuffled order; a label with a single image stays in train.
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
