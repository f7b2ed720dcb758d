"""Folders of images: one subfolder per label, with the images in it or in folders below it."""

import os
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError
from models.labels import EMOTIONS, FER2013, recognise
from models.pictures.preprocessing import Preprocessing
from models.pictures.resize import read_pixels
from models.sources.exclusions import SYSTEM_FOLDERS, Exclusions
from models.sources.names import SUFFIXES
from models.sources.walk import Passing, walk
from models.training_data import DataSource
from trainer.datasets.dataset import Dataset
from trainer.datasets.files import OnRead, map_in_threads, read_file

PASSED_OVER: Final = Exclusions((*SYSTEM_FOLDERS, ".*"))
"""Hidden folders, such as `.ipynb_checkpoints`, and thumbnails hold copies of the images."""


def load_folder(source: DataSource, preprocessing: Preprocessing, on_read: OnRead) -> Dataset:
    """Reads all images of a folder, ordered by subfolder and path below it.

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
        name = os.fsencode(folder.name)
        if not folder.is_dir() or PASSED_OVER.match(b"", name) is not None:
            continue

        label = _parse_label(folder)
        # Links to folders and folders that cannot be listed are among the paths; reading them fails
        # with their name.
        paths = walk(os.fsencode(folder), recursive=True, passing=Passing(PASSED_OVER))
        files.extend((folder / os.fsdecode(path), label) for path in paths)

    if not files:
        accepted = ", ".join(sorted(SUFFIXES))
        raise DataError(
            f"{root} has no images in subfolders named after labels. Accepted types: {accepted}."
        )
    return files


def _parse_label(folder: Path) -> int:
    """The index of the emotion that a folder is named after."""
    emotion = recognise(folder.name)
    if emotion is None:
        raise DataError(
            f"{folder} is not named after a label. Expected one of the 28 emotions "
            f"({', '.join(EMOTIONS)}) or a class of FER-2013 ({', '.join(FER2013)})."
        )
    return EMOTIONS.index(emotion)
