"""EMOTIC's annotations, made by hand, as its authors describe them."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def cell(*names: str) -> Any:
    """A MATLAB cell array of words."""
    array = np.empty((1, len(names)), object)
    array[0, :] = names
    return array


def struct(**fields: Any) -> Any:
    """A MATLAB struct."""
    array = np.empty((1, 1), [(name, object) for name in fields])
    for name, value in fields.items():
        array[0, 0][name] = value
    return array


def structs(*parts: Any) -> Any:
    """A struct array."""
    return np.concatenate(parts, axis=1)


def person(box: Sequence[float], *categories: str, **more: Any) -> Any:
    said = struct(categories=cell(*categories))
    return struct(body_bbox=np.array([box]), annotations_categories=said, **more)


def agreed(box: Sequence[float], first: str, second: str, *combined: str) -> Any:
    """As val and test have it: two annotators, and what they come to together."""
    said = structs(struct(categories=cell(first)), struct(categories=cell(second)))
    return struct(
        body_bbox=np.array([box]), annotations_categories=said, combined_categories=cell(*combined)
    )


def picture(name: str, *people: Any) -> Any:
    size = struct(n_col=30.0, n_row=20.0)
    return struct(filename=name, folder="mscoco/images", image_size=size, person=structs(*people))
