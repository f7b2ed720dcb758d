"""EMOTIC (Kosti et al. 2017): people in photographs, each with a box and several categories.

A person has several categories. The option `soft` keeps them all, in equal shares; `rarest` keeps
the one that the fewest people in the same part have. With `soft`, the rarest category is also the
person's label wherever a single one is needed, such as in counts.

The published archive contains a broken picture (https://github.com/rkosti/emotic/issues/10), so a
small share of people who cannot be cropped is tolerated.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import scipy.io
from numpy.typing import NDArray

from models.errors import DataError
from models.labels import EMOTIONS
from models.pictures.decode import MAX_PIXELS, decode
from models.pictures.preprocessing import Preprocessing
from models.pictures.resize import resize
from models.training_data import DataSource
from trainer.datasets.dataset import Dataset
from trainer.datasets.files import OnRead, map_in_threads, read_file

MAX_FAILED_SHARE: Final = 0.01
"""If more of the people cannot be cropped, the images are incomplete or in the wrong place."""

_log = logging.getLogger(__name__)


class _Person(NamedTuple):
    picture: str
    box: tuple[int, int, int, int]  # Left, top, right, bottom, in pixels.
    categories: tuple[int, ...]


def load_emotic(source: DataSource, preprocessing: Preprocessing, on_read: OnRead) -> Dataset:
    """Crops the people of one part: train, val or test.

    Raises:
        DataError: the annotations are malformed, nobody in the part has a category and a box, or
            too many people cannot be cropped.
    """
    part = source.one_of("train", "val", "test")
    region = source.one_of("body", "face")
    is_soft = source.one_of("soft", "rarest") == "soft"

    people = _read_people(source.path, part, region)
    if not people:
        raise DataError(f"{source.path} has no person with a category and a {region} in {part}.")

    crops = _crop_people(source.path, people, preprocessing, on_read)
    failures = [crop for crop in crops if isinstance(crop, DataError)]
    name = f"{source.path.name} ({part}, {region})"
    if failures:
        _check_failures(failures, source.path, len(people))
        name += f", without {len(failures):,} people who could not be cropped"

    images = [crop for crop in crops if not isinstance(crop, DataError)]
    cropped = [
        person
        for person, crop in zip(people, crops, strict=True)
        if not isinstance(crop, DataError)
    ]
    soft = _share_equally(cropped) if is_soft else None
    return Dataset(np.stack(images), _choose_rarest(cropped), name, soft)


def _check_failures(failures: Sequence[DataError], annotations: Path, total: int) -> None:
    first = failures[0]
    if len(failures) > MAX_FAILED_SHARE * total:
        raise DataError(f"{first} {len(failures):,} of {total:,} people cannot be trained on.")

    _log.warning("%s: skipped %d people. The first: %s", annotations, len(failures), first)


def _choose_rarest(people: Sequence[_Person]) -> NDArray[np.int64]:
    """For each person, the category that the fewest people have; of equals, the first."""
    counts = Counter(category for person in people for category in person.categories)
    labels = [
        min(person.categories, key=lambda category: (counts[category], category))
        for person in people
    ]
    return np.array(labels, np.int64)


def _share_equally(people: Sequence[_Person]) -> NDArray[np.float32]:
    """float32 (people, 28): equal shares for all categories of each person."""
    targets = np.zeros((len(people), len(EMOTIONS)), np.float32)
    for target, person in zip(targets, people, strict=True):
        target[list(person.categories)] = 1 / len(person.categories)
    return targets


# --- Annotations: MATLAB's struct arrays, as EMOTIC's authors describe them ---


def _read_people(annotations: Path, part: str, region: str) -> list[_Person]:
    """The people who have a category and a box, in the file's order."""
    people: list[_Person] = []
    try:
        content = scipy.io.loadmat(
            annotations, squeeze_me=True, struct_as_record=False, variable_names=[part]
        )
        for picture in np.atleast_1d(content[part]):
            path = f"{picture.folder}/{picture.filename}"
            for record in np.atleast_1d(picture.person):
                person = _read_person(record, path, f"{region}_bbox", annotations)
                if person:
                    people.append(person)
    except DataError:
        raise
    except Exception as error:  # SciPy raises almost any exception on damaged files.
        raise DataError(
            f"{annotations} is not EMOTIC's annotations, or is damaged: {error!r}."
        ) from error
    return people


def _read_person(record: Any, picture: str, box_field: str, annotations: Path) -> _Person | None:
    """One person; None without a category or a box of positive size."""
    categories = {_parse_category(str(name), annotations) for name in _list_categories(record)}
    if not hasattr(record, box_field):
        raise DataError(f"{annotations} has no {box_field}. Use the option `body` instead.")

    # MATLAB leaves the field empty for a person without a box.
    corners = [round(float(value)) for value in np.ravel(getattr(record, box_field))]
    if not categories or not corners:
        return None

    left, top, right, bottom = corners
    if right <= left or bottom <= top:
        return None
    return _Person(picture, (left, top, right, bottom), tuple(sorted(categories)))


def _list_categories(record: Any) -> NDArray[Any]:
    """The categories that the annotators agreed on, or all that any of them gave."""
    if hasattr(record, "combined_categories"):
        return np.atleast_1d(record.combined_categories)

    annotators = np.atleast_1d(record.annotations_categories)
    return np.concatenate([np.atleast_1d(annotator.categories) for annotator in annotators])


def _parse_category(name: str, annotations: Path) -> int:
    emotion = name.strip().lower().replace("/", "_")
    if emotion not in EMOTIONS:
        raise DataError(
            f"{annotations} has an unknown category {name!r}. Expected one of the 28 emotions "
            f"({', '.join(EMOTIONS)})."
        )
    return EMOTIONS.index(emotion)


# --- Pictures ---


def _crop_people(
    annotations: Path, people: Sequence[_Person], preprocessing: Preprocessing, on_read: OnRead
) -> list[NDArray[np.uint8] | DataError]:
    """For each person, the crop or the reason why there is none."""
    # Grouped by picture, so that each picture is decoded once.
    groups = [list(group) for _, group in groupby(people, key=lambda person: person.picture)]

    def crop(group: list[_Person]) -> list[NDArray[np.uint8] | DataError]:
        return _crop_picture(annotations, group, preprocessing)

    crops: list[NDArray[np.uint8] | DataError] = []
    for group_crops in map_in_threads(crop, groups):
        crops += group_crops
        on_read(len(crops), len(people))
    return crops


def _crop_picture(
    annotations: Path, people: Sequence[_Person], preprocessing: Preprocessing
) -> list[NDArray[np.uint8] | DataError]:
    """The people of one picture."""
    try:
        file = _find_picture(annotations, people[0].picture)
        # At full scale: the boxes are in the original's pixels.
        picture = read_file(file, lambda data: decode(data, (MAX_PIXELS, MAX_PIXELS)))
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
                DataError(f"{file}: box {person.box} is outside the picture {picture.size}.")
            )
    return crops


def _find_picture(annotations: Path, name: str) -> Path:
    """A picture's file, in one of the folders where EMOTIC's images may be."""
    roots = [
        parent / subfolder
        for parent in (annotations.parent, annotations.parent.parent)
        for subfolder in ("", "emotic")
    ]
    for root in roots:
        file = (root / name).resolve()
        # The name comes from the annotations and must not lead out of the folder.
        if file.is_file() and file.is_relative_to(root.resolve()):
            return file

    searched = ", ".join(str(root) for root in roots)
    raise DataError(
        f"{annotations} names {name}, which does not exist. Put EMOTIC's image folders into one "
        f"of {searched}."
    )
