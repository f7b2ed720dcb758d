"""Reading labelled images from all that `cuemill train --data` takes.

| source            | what it is                                                                                     |
|-------------------|------------------------------------------------------------------------------------------------|
| `FOLDER`          | one subfolder a label, named by one of the 28 or by FER-2013 (`angry`, `happy`, ...)           |
| `x_data.npy`      | uint8 (n, height, width, 3), B, G, R, with `x_labels.npy` (n,) beside it; opened by memory map |
| `fer2013.csv`     | columns emotion (0 to 6), pixels, Usage; `,training` (default), `,publictest`, `,privatetest`  |
| `Annotations.mat` | EMOTIC's, its image folders near it; `,train` (default), `,val`, `,test`; `,body` (default),   |
|                   | `,face` (for files whose people have a `face_bbox`); `,soft` (default), `,rarest`              |

A person of EMOTIC has several categories. `soft` keeps them all, in equal shares; `rarest` keeps the one that the
fewest people of the part have. It is also what counts as the label of a soft target. As published, EMOTIC has had a
broken picture (github.com/rkosti/emotic/issues/10): up to a hundredth of the people may be impossible to crop.
"""

import csv
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from os import cpu_count
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
import scipy.io
from numpy.typing import NDArray
from PIL import Image

from models.errors import DataError, ImageError
from models.labels import EMOTIONS, FER2013
from models.pictures.decode import MAX_PIXELS, decode
from models.pictures.preprocessing import Preprocessing
from models.pictures.resize import read_pixels, resize
from models.sources.names import SUFFIXES
from models.training_data import OPTIONS, DataSource, parse
from trainer.datasets.dataset import Dataset, merge

THREADS: Final = min(16, cpu_count() or 1)  # Pillow lets go of the interpreter while it decodes.
FER_SIDE: Final = 48
LEFT_OUT: Final = 0.01  # Of EMOTIC's people; where more can't be cropped, it lies in the wrong place, or not whole.

_log = logging.getLogger(__name__)

A = TypeVar("A")
B = TypeVar("B")

Read = Callable[[int, int], None]
"""Called with the images read so far, and those there are."""


def load(
    sources: Iterable[str], preprocessing: Preprocessing, progress: Read = lambda done, total: None
) -> Dataset:
    """Reads and merges sources, each `PATH[,option...]` as the table above says.

    Args:
        progress: called with the images of a source read so far, and those it has.

    Raises:
        DataError: a source that isn't there, isn't of a known form or holds what can't be trained on; names it.
    """
    return merge([_load(parse(text), preprocessing, progress) for text in sources])


def _load(source: DataSource, preprocessing: Preprocessing, progress: Read) -> Dataset:
    if source.kind and not source.path.is_file():
        raise DataError(f"{source.path} is no file.")
    if not source.kind and not source.path.is_dir():
        known = ", ".join(filter(None, OPTIONS))
        raise DataError(
            f"{source.path} is not a folder; expected one with a subfolder for each label, or {known}."
        )
    return _LOADERS[source.kind](source, preprocessing, progress)


def _load_folder(source: DataSource, preprocessing: Preprocessing, progress: Read) -> Dataset:
    root = source.path.resolve()
    files = _list(root)
    images = np.empty((len(files), preprocessing.height, preprocessing.width, 3), np.uint8)
    read = _in_threads(
        lambda file: _read(file[0], lambda data: read_pixels(data, preprocessing)), files
    )
    for i, pixels in enumerate(read):
        images[i] = pixels
        progress(i + 1, len(files))
    return Dataset(
        images, np.array([label for _, label in files], np.int64), f"{root.parent.name}/{root.name}"
    )


def _in_threads(function: Callable[[A], B], items: Sequence[A]) -> Iterator[B]:
    # `decode` silences Pillow's warnings for all threads at once, and they would undo each other's silence.
    with warnings.catch_warnings(action="ignore"), ThreadPoolExecutor(THREADS) as threads:
        yield from threads.map(function, items)


def _read(path: Path, decoded: Callable[[bytes], A]) -> A:
    try:
        return decoded(path.read_bytes())
    except (ImageError, OSError) as error:
        raise DataError(f"{path} can't be trained on: {error} Remove it or mend it.") from error


def _list(root: Path) -> list[tuple[Path, int]]:
    """The images and their labels' indices, in stable order; names that begin with a dot are left out."""
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    files = [
        (path, label)
        for folder, label in [(folder, _label(folder)) for folder in folders]
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    ]
    if not files:
        raise DataError(
            f"{root} has no image in subfolders named by label; accepted: {', '.join(sorted(SUFFIXES))}."
        )
    return files


def _label(folder: Path) -> int:
    name = FER2013.get(folder.name.lower(), folder.name.lower())
    if name not in EMOTIONS:
        raise DataError(
            f"{folder} names no label; expected one of the 28 ({', '.join(EMOTIONS)}) or of FER-2013's classes "
            f"({', '.join(FER2013)})."
        )
    return EMOTIONS.index(name)


def _load_pair(source: DataSource, preprocessing: Preprocessing, progress: Read) -> Dataset:
    path = source.path
    if not path.stem.endswith("_data"):
        raise DataError(
            f"{path} isn't named x_data.npy, so its labels can't be found; they go in x_labels.npy."
        )
    beside = path.with_name(f"{path.stem.removesuffix('_data')}_labels.npy")
    images, labels = _open_array(path), _open_array(beside)
    if images.dtype.kind == "f" and np.isnan(images).any():
        raise DataError(f"{path} holds values that are no numbers (NaN); expected pixels, uint8.")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or 0 in images.shape:
        raise DataError(
            f"{path} is {images.dtype} of shape {images.shape}; expected uint8 (n, height, width, 3), B, G, R."
        )
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        raise DataError(
            f"{beside} holds labels that are no numbers (NaN); expected 0 to {len(EMOTIONS) - 1}."
        )
    if labels.dtype.kind not in "iu" or labels.shape not in ((len(labels),), (len(labels), 1)):
        raise DataError(
            f"{beside} is {labels.dtype} of shape {labels.shape}; expected integers of shape (n,)."
        )
    if len(images) != len(labels):
        raise DataError(f"{path} has {len(images)} images, but {beside.name} {len(labels)} labels.")
    ids = np.asarray(labels, np.int64).ravel()
    return Dataset(
        _in_order(images, preprocessing, progress), _check_labels(ids, beside), path.name
    )


def _open_array(path: Path) -> NDArray[Any]:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
    except FileNotFoundError:
        raise DataError(f"{path} is missing.") from None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{path} is no array in NumPy's format, or a broken one: {error}"
        ) from error


def _in_order(
    bgr: NDArray[np.uint8], preprocessing: Preprocessing, progress: Read
) -> NDArray[np.uint8]:
    """As the preprocessing wants them; still in the file, where only the channels' order differs."""
    if (
        bgr.shape[1:3] == (preprocessing.height, preprocessing.width)
        and preprocessing.channel_order != "grey"
    ):
        progress(len(bgr), len(bgr))
        return bgr if preprocessing.channel_order == "bgr" else bgr[..., ::-1]
    images = np.empty((len(bgr), preprocessing.height, preprocessing.width, 3), np.uint8)
    for i, image in enumerate(bgr):
        images[i] = resize(Image.fromarray(np.ascontiguousarray(image[..., ::-1])), preprocessing)
        progress(i + 1, len(bgr))
    return images


def _check_labels(labels: NDArray[np.int64], path: Path) -> NDArray[np.int64]:
    wrong = np.flatnonzero((labels < 0) | (labels >= len(EMOTIONS)))
    if len(wrong):
        raise DataError(
            f"{path}: label {labels[wrong[0]]} of image {wrong[0]} is none; expected 0 to {len(EMOTIONS) - 1}."
        )
    return labels


def _load_csv(source: DataSource, preprocessing: Preprocessing, progress: Read) -> Dataset:
    path, usage = source.path, source.one_of(*OPTIONS[".csv"])
    with path.open("rb") as lines:
        total = sum(1 for _ in lines) - 1
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    with path.open(newline="", encoding="utf-8") as file:
        try:
            rows = csv.reader(file)
            columns = [name.strip().lower() for name in next(rows, [])]
            if not {"emotion", "pixels", "usage"}.issubset(columns):
                raise ValueError("its first line must name the columns emotion, pixels, Usage")
            for row in rows:
                values = dict(zip(columns, row, strict=True))
                progress(rows.line_num - 1, total)
                if values["usage"].strip().lower() == usage:
                    image = np.array(values["pixels"].split(), np.uint8).reshape(FER_SIDE, FER_SIDE)
                    images.append(resize(Image.fromarray(image).convert("RGB"), preprocessing))
                    labels.append(EMOTIONS.index(list(FER2013.values())[_digit(values["emotion"])]))
        except (ValueError, OverflowError, csv.Error) as error:
            raise DataError(
                f"{path}, line {rows.line_num}, is none of FER-2013's: {error}."
            ) from error
    if not images:
        raise DataError(f"{path} has no row whose Usage is {usage}.")
    return Dataset(np.stack(images), np.array(labels, np.int64), f"{path.name} ({usage})")


def _digit(text: str) -> int:
    if not 0 <= (value := int(text)) < len(FER2013):
        raise ValueError(f"emotion {value} is none of 0 to {len(FER2013) - 1}")
    return value


def _load_emotic(source: DataSource, preprocessing: Preprocessing, progress: Read) -> Dataset:
    part = source.one_of("train", "val", "test")
    box = source.one_of("body", "face")
    soft = source.one_of("soft", "rarest") == "soft"
    people = list(_people(source.path, part, f"{box}_bbox"))
    if not people:
        raise DataError(f"{source.path} has no person with a category and a {box} in its {part}.")
    crops: list[NDArray[np.uint8] | DataError] = []
    for found in _in_threads(
        lambda group: _crops(source.path, group, preprocessing),
        [list(group) for _, group in groupby(people, key=lambda person: person.picture)],
    ):
        crops += found
        progress(len(crops), len(people))
    description = f"{source.path.name} ({part}, {box})"
    if broken := [crop for crop in crops if isinstance(crop, DataError)]:
        if len(broken) > LEFT_OUT * len(people):
            raise DataError(
                f"{broken[0]} {len(broken):,} of its {len(people):,} people can't be trained on."
            )
        _log.warning(
            "%s: left out %d of its people, the first because: %s",
            source.path,
            len(broken),
            broken[0],
        )
        description += f" without {len(broken):,} who can't be cropped"
    images = [crop for crop in crops if not isinstance(crop, DataError)]
    people = [
        person
        for person, crop in zip(people, crops, strict=True)
        if not isinstance(crop, DataError)
    ]
    counts = Counter(category for person in people for category in person.categories)
    rarest = [
        min(person.categories, key=lambda category: (counts[category], category))
        for person in people
    ]
    targets = None
    if soft:
        targets = np.zeros((len(people), len(EMOTIONS)), np.float32)
        for row, person in zip(targets, people, strict=True):
            row[list(person.categories)] = 1 / len(person.categories)
    return Dataset(np.stack(images), np.array(rarest, np.int64), description, targets)


class _Person(NamedTuple):
    picture: str
    box: tuple[int, int, int, int]
    categories: tuple[int, ...]


def _people(annotations: Path, part: str, box: str) -> Iterator[_Person]:
    """Those who have a category and a box; EMOTIC's struct arrays as its authors describe them."""
    try:
        found = scipy.io.loadmat(
            annotations, squeeze_me=True, struct_as_record=False, variable_names=[part]
        )
        pictures = np.atleast_1d(found[part])
        for picture in pictures:
            name = f"{picture.folder}/{picture.filename}"
            for person in np.atleast_1d(picture.person):
                categories = {_category(str(name), annotations) for name in _categories(person)}
                if not hasattr(person, box):
                    raise DataError(
                        f"{annotations}: its people have no {box}; ask for the body instead."
                    )
                corners = [round(float(n)) for n in np.ravel(getattr(person, box))]
                if (
                    not categories or not corners
                ):  # MATLAB leaves a field empty where one of many has none.
                    continue
                x1, y1, x2, y2 = corners
                if x2 > x1 and y2 > y1:
                    yield _Person(name, (x1, y1, x2, y2), tuple(sorted(categories)))
    except DataError:
        raise
    except Exception as error:  # SciPy raises nearly anything on broken bytes.
        raise DataError(
            f"{annotations} is not EMOTIC's annotations, or not whole: {error!r}."
        ) from error


def _categories(person: Any) -> NDArray[Any]:
    """What was agreed on if several annotated, else what each of them gave."""
    if hasattr(person, "combined_categories"):
        return np.atleast_1d(person.combined_categories)
    annotators = np.atleast_1d(person.annotations_categories)
    return np.concatenate([np.atleast_1d(annotator.categories) for annotator in annotators])


def _category(name: str, annotations: Path) -> int:
    emotion = name.strip().lower().replace("/", "_")
    if emotion not in EMOTIONS:
        raise DataError(
            f"{annotations} has a category {name!r}, which is none of the 28 ({', '.join(EMOTIONS)})."
        )
    return EMOTIONS.index(emotion)


def _find(annotations: Path, name: str) -> Path:
    """An image that the annotations name, inside one of the folders it may lie in."""
    parents = (annotations.parent, annotations.parent.parent)
    roots = [root / inner for root in parents for inner in ("", "emotic")]
    for root in roots:
        file = (root / name).resolve()
        if file.is_file() and file.is_relative_to(root.resolve()):
            return file
    tried = ", ".join(str(root) for root in roots)
    raise DataError(
        f"{annotations} names {name}, which is not there; put EMOTIC's image folders in one of {tried}."
    )


def _crops(
    annotations: Path, people: Sequence[_Person], preprocessing: Preprocessing
) -> list[NDArray[np.uint8] | DataError]:
    """The people of one picture, or why not; decoded whole, since at a reduced scale their boxes wouldn't fit."""
    try:
        file = _find(annotations, people[0].picture)
        picture = _read(file, lambda data: decode(data, (MAX_PIXELS, MAX_PIXELS)))
    except DataError as error:
        return [error] * len(people)
    crops: list[NDArray[np.uint8] | DataError] = []
    for person in people:
        left, top, right, bottom = person.box
        left, top = max(0, left), max(0, top)
        right, bottom = min(picture.width, right), min(picture.height, bottom)
        if right > left and bottom > top:
            crops.append(resize(picture.crop((left, top, right, bottom)), preprocessing))
        else:
            crops.append(
                DataError(
                    f"{file}: the box {person.box} lies outside the picture ({picture.size})."
                )
            )
    return crops


_LOADERS: Final[dict[str, Callable[[DataSource, Preprocessing, Read], Dataset]]] = {
    "": _load_folder,
    ".npy": _load_pair,
    ".csv": _load_csv,
    ".mat": _load_emotic,
}
