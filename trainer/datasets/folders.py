"""Folders of images: one subfolder per label."""

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError
from models.labels import EMOTIONS, FER2013
from models.pictures.preprocessing import Preprocessing
from models.pictures.resize import read_pixels
from models.sources.names import SUFFIXES
from models.training_data import DataSource
from trainer.datasets.dataset import Dataset
from trainer.datasets.files import OnRead, map_in_threads, read_file


def load_folder(source: DataSource, preprocessing: Preprocessing, on_read: OnRead) -> Dataset:
    """Reads all images of a folder, ordered by subfolder and file name.

    Raises:
        DataError: a subfolder is not named after a label, an image cannot be read, or there is
            no image at all.
    """
    root = source.path.resolve()
    files = _list_images(root)
    images = np.empty((len(files), preprocessing.height, preprocessing.width, 3), np.uint8)

    def read(path: Path) -> NDArray[np.uint8]:
        return read_file(path, partial(read_pixels, preprocessing=preprocessing))

    paths = [path for path, _ in files]
    for index, pixels in enumerate(map_in_threads(read, paths)):
        images[index] = pixels
        on_read(index + 1, len(files))

    labels = np.array([label for _, label in files], np.int64)
    return Dataset(images, labels, f"{root.parent.name}/{root.name}")


def _list_images(root: Path) -> list[tuple[Path, int]]:
    """Each image's path and label, in a stable order; hidden files and folders are skipped."""
    files: list[tuple[Path, int]] = []
    for folder in sorted(root.iterdir()):
        if not folder.is_dir() or folder.name.startswith("."):
            continue

        label = _parse_label(folder)
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
                files.append((path, label))

    if not files:
        accepted = ", ".join(sorted(SUFFIXES))
        raise DataError(
            f"{root} has no images in subfolders named after labels. Accepted types: {accepted}."
        )
    return files


def _parse_label(folder: Path) -> int:
    """The index of the emotion that a folder is named after."""
    name = folder.name.lower()
    emotion = FER2013.get(name, name)
    if emotion not in EMOTIONS:
        raise DataError(
            f"{folder} is not named after a label. Expected one of the 28 emotions "
            f"({', '.join(EMOTIONS)}) or a class of FER-2013 ({', '.join(FER2013)})."
        )
    return EMOTIONS.index(emotion)
