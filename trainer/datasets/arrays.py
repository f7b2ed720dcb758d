"""Pairs of NumPy files, `x_data.npy` and `x_labels.npy`: the reference's format."""

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.errors import DataError
from models.labels import EMOTIONS
from models.pictures.preprocessing import Preprocessing
from models.pictures.resize import resize
from models.training_data import DataSource
from trainer.datasets.dataset import Dataset
from trainer.datasets.files import OnRead

TOLERANCE: Final = 1e-3
"""How far the scores of an image may sum to another value than 1. float16 rounds each to 5e-4."""


def load_arrays(source: DataSource, preprocessing: Preprocessing, on_read: OnRead) -> Dataset:
    """Opens a pair as memory maps; the images are read only if they must be converted.

    Raises:
        DataError: a file is missing or damaged, or its shape, type or values are wrong.
    """
    data_file = source.path
    if not data_file.stem.endswith("_data"):
        raise DataError(
            f"{data_file} is not named x_data.npy. Rename it, with its labels beside it in "
            "x_labels.npy."
        )
    labels_file = data_file.with_name(f"{data_file.stem.removesuffix('_data')}_labels.npy")

    images = _open_array(data_file)
    labels = _open_array(labels_file)
    _check_images(images, data_file)
    _check_labels(labels, labels_file)
    if len(images) != len(labels):
        raise DataError(
            f"{data_file} has {len(images)} images, but {labels_file.name} has "
            f"{len(labels)} labels."
        )

    pixels = _convert(images, preprocessing, on_read)
    if labels.ndim == 2 and labels.shape[1] == len(EMOTIONS):
        scores = np.asarray(labels, np.float32)
        is_one_hot = bool((scores.max(axis=1) == 1).all())
        soft = None if is_one_hot else scores
        return Dataset(pixels, scores.argmax(axis=1), data_file.name, soft)
    return Dataset(pixels, np.asarray(labels, np.int64).ravel(), data_file.name)


def _open_array(path: Path) -> NDArray[Any]:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
    except FileNotFoundError:
        raise DataError(f"{path} is missing.") from None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is not a NumPy array file, or is damaged: {error}") from error


def _check_images(images: NDArray[Any], path: Path) -> None:
    if images.dtype.kind == "f" and np.isnan(images).any():
        raise DataError(f"{path} contains NaN; expected uint8 pixels.")

    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or 0 in images.shape:
        raise DataError(
            f"{path} is {images.dtype} of shape {images.shape}; expected uint8 of shape "
            "(n, height, width, 3) in B, G, R order."
        )


def _check_labels(labels: NDArray[Any], path: Path) -> None:
    highest = len(EMOTIONS) - 1
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        raise DataError(f"{path} contains NaN; expected labels from 0 to {highest}.")

    if labels.ndim == 2 and labels.shape[1] == len(EMOTIONS) and labels.dtype.kind in "biuf":
        _check_scores(labels, path)
        return

    if labels.dtype.kind not in "iuf" or labels.shape not in ((labels.size,), (labels.size, 1)):
        raise DataError(
            f"{path} is {labels.dtype} of shape {labels.shape}; expected integers of shape (n,), "
            f"or scores of shape (n, {len(EMOTIONS)})."
        )

    invalid = np.flatnonzero((labels < 0) | (labels > highest) | (labels != np.trunc(labels)))
    if len(invalid):
        index = invalid[0]
        raise DataError(
            f"{path}: image {index} has label {labels.ravel()[index]}; expected a whole number "
            f"from 0 to {highest}."
        )


def _check_scores(scores: NDArray[Any], path: Path) -> None:
    sums = scores.sum(axis=1, dtype=np.float64)
    invalid = np.flatnonzero((scores < 0).any(axis=1) | (abs(sums - 1) > TOLERANCE))
    if len(invalid):
        raise DataError(
            f"{path}: the scores of image {invalid[0]} are not a share of 1 for each label, such "
            "as 1 for one label and 0 for all others."
        )


def _convert(
    bgr: NDArray[np.uint8], preprocessing: Preprocessing, on_read: OnRead
) -> NDArray[np.uint8]:
    """The images in the network's size and channel order."""
    fits = bgr.shape[1:3] == (preprocessing.height, preprocessing.width)
    if fits and preprocessing.channel_order != "grey":
        # A reordered view is enough: the pixels stay in the file.
        on_read(len(bgr), len(bgr))
        return bgr if preprocessing.channel_order == "bgr" else bgr[..., ::-1]

    images = np.empty((len(bgr), preprocessing.height, preprocessing.width, 3), np.uint8)
    for index, image in enumerate(bgr):
        rgb = np.ascontiguousarray(image[..., ::-1])
        images[index] = resize(Image.fromarray(rgb), preprocessing)
        on_read(index + 1, len(bgr))
    return images
