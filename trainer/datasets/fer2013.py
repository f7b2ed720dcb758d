"""FER-2013's CSV: a row of pixels per face, as Kaggle published it or as others have saved it.

The columns may be in any order, a byte-order mark may come first, labels may be FER-2013's numbers
or names, and the column Usage may be missing: then all rows are read.
"""

import csv
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.errors import DataError
from models.labels import EMOTIONS, FER2013, recognise
from models.pictures.preprocessing import Preprocessing
from models.pictures.resize import resize
from models.training_data import OPTIONS, DataSource
from trainer.datasets.dataset import Dataset
from trainer.datasets.files import OnRead

SIDE: Final = 48
"""Height and width of the faces in the file."""


def load_fer2013(source: DataSource, preprocessing: Preprocessing, on_read: OnRead) -> Dataset:
    """Reads the rows of one usage: training, publictest or privatetest.

    Raises:
        DataError: a row is malformed (named by its line), or none has the usage, or one was asked
            for and the file has no column for it.
    """
    path = source.path
    usage = source.one_of(*OPTIONS[".csv"])
    with path.open("rb") as lines:
        total = sum(1 for _ in lines) - 1  # The first line is the header.

    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file)
        try:
            columns = [name.strip().lower() for name in next(rows, [])]
            if not {"emotion", "pixels"}.issubset(columns):
                raise ValueError("the first line must name the columns emotion and pixels")
            if "usage" not in columns:
                if source.options:
                    raise ValueError(f"it has no column Usage to find {usage} in")
                usage = ""

            for row in rows:
                values = dict(zip(columns, row, strict=True))
                on_read(rows.line_num - 1, total)
                if values.get("usage", "").strip().lower() == usage:
                    images.append(_parse_pixels(values["pixels"], preprocessing))
                    labels.append(_parse_emotion(values["emotion"]))
        except (ValueError, OverflowError, csv.Error) as error:
            raise DataError(
                f"{path}, line {rows.line_num}, is not FER-2013 data: {error}."
            ) from error

    if not images:
        raise DataError(f"{path} has no rows" + (f" whose Usage is {usage}." if usage else "."))
    name = f"{path.name} ({usage})" if usage else path.name
    return Dataset(np.stack(images), np.array(labels, np.int64), name)


def _parse_pixels(text: str, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    pixels = np.array(text.split(), np.uint8).reshape(SIDE, SIDE)
    return resize(Image.fromarray(pixels).convert("RGB"), preprocessing)


def _parse_emotion(text: str) -> int:
    """The index into `EMOTIONS` of one of FER-2013's numbers, or of a label by name."""
    if not text.strip().isdecimal():
        emotion = recognise(text)
        if emotion is None:
            raise ValueError(f"emotion {text[:80]!r} is neither a number nor a label")
        return EMOTIONS.index(emotion)

    number = int(text)
    if number >= len(FER2013):
        raise ValueError(f"emotion {number} is not in 0 to {len(FER2013) - 1}")
    return EMOTIONS.index(list(FER2013.values())[number])
