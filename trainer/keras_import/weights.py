"""The weights inside the archive: plain arrays of an HDF5 file. Links out of it are refused."""

import math
import re
from collections.abc import Sequence
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from trainer.keras_import.archive import Archive
from trainer.keras_import.config import LayerConfig
from trainer.keras_import.errors import RefusedError

GROUPS: Final = {
    "Conv2D": "conv2d",
    "DepthwiseConv2D": "depthwise_conv2d",
    "SeparableConv2D": "separable_conv2d",
    "BatchNormalization": "batch_normalization",
    "Dense": "dense",
}
"""What Keras calls the groups of each kind of layer that has weights."""


def read_weights(
    archive: Archive, layer: LayerConfig, shapes: Sequence[tuple[int, ...]]
) -> list[NDArray[np.float32]]:
    """The weights of a layer, in Keras' order.

    Raises:
        RefusedError: a weight is missing, is not a plain float32 array of the given shape, or has
            values that are not finite.
    """
    if not shapes:
        return []
    file = archive.weights
    if "model_weights" in file:
        if layer.scope:
            raise RefusedError("it is a .h5 file of networks inside others; save it as .keras")
        return _read_named(archive, layer.name, shapes)

    parent: h5py.Group = file
    for _, kind, index in layer.scope:
        parent = _find_member(parent, kind.lower(), index)
    group = _get_variables(*_find_name(parent, GROUPS[layer.kind], layer.index))
    return [_read_array(group, str(number), shape) for number, shape in enumerate(shapes)]


def _read_named(
    archive: Archive, name: str, shapes: Sequence[tuple[int, ...]]
) -> list[NDArray[np.float32]]:
    """A layer's weights in a `.h5` file, whose attribute lists their paths in Keras' order."""
    layer = _get_member(_get_member(archive.weights, "model_weights"), name)
    if not isinstance(layer, h5py.Group):
        raise RefusedError(f"its weights have no layer {name!r}")

    paths = archive.names.get(name, [])
    if len(paths) != len(shapes):
        raise RefusedError(f"its layer {name!r} has {len(paths)} weights, expected {len(shapes)}")

    arrays: list[NDArray[np.float32]] = []
    for path, shape in zip(paths, shapes, strict=True):
        *groups, last = path.split("/")
        group = layer
        for part in groups:
            group = _get_member(group, part) if isinstance(group, h5py.Group) else None
        arrays.append(_read_array(group, last, shape))
    return arrays


def _find_member(file: h5py.Group, stem: str, index: int) -> h5py.Group:
    parent, name = _find_name(file, stem, index)
    member = _get_member(parent, name)
    if not isinstance(member, h5py.Group):
        raise RefusedError(f"its weights have no group {name}")
    return member


def _find_name(file: h5py.Group, stem: str, index: int) -> tuple[h5py.Group, str]:
    """The group of the n-th layer whose group is called `stem`, counted from 0.

    Keras numbers the layers of a kind in their order (2.12 skips numbers), inside a container
    group. Windows writes container and layer into one name, joined by a backslash.
    """
    for container in ("layers", "_layer_checkpoint_dependencies"):
        for parent, prefix in ((_get_member(file, container), ""), (file, container + "\\")):
            if not isinstance(parent, h5py.Group):
                continue
            names = _list_numbered(parent, prefix + stem)
            if index < len(names):
                return parent, names[index]
    raise RefusedError(f"its weights have no {stem} number {index}")


def _list_numbered(parent: h5py.Group, stem: str) -> list[str]:
    """The members called `stem`, `stem_1`, `stem_2` and so on, in that order."""
    pattern = re.compile(re.escape(stem) + r"(?:_(\d{1,6}))?")
    numbered: list[tuple[int, str]] = []
    for name in parent:
        match = pattern.fullmatch(name)
        if match:
            numbered.append((int(match[1] or 0), name))
    return [name for _, name in sorted(numbered)]


def _get_variables(parent: h5py.Group, name: str) -> h5py.Group:
    """A layer's group `vars`, which Windows writes beside the layer's group."""
    group = _get_member(parent, name)
    if "vars" in group:
        return _get_member(group, "vars")
    return _get_member(parent, name + "\\vars")


def _get_member(parent: h5py.Group, name: str) -> Any:
    """A member stored in this file; None if there is none. Links elsewhere are refused."""
    link = parent.get(name, getlink=True)
    if link is None:
        return None
    if not isinstance(link, h5py.HardLink):
        raise RefusedError(f"its weights hold a link ({name!r}) instead of data")
    return parent[name]


def _read_array(group: h5py.Group, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    array = _get_member(group, name) if isinstance(group, h5py.Group) else None
    if not isinstance(array, h5py.Dataset) or not _is_plain(array):
        path = f"{group.name if group else ''}/{name}"
        raise RefusedError(f"its weight {path} is missing, or is not a plain float32 array")
    if array.shape != shape:
        raise RefusedError(f"its weight {array.name} has shape {array.shape}, expected {shape}")

    values: NDArray[np.float32] = array[()]
    if not np.isfinite(values).all():
        raise RefusedError(f"its weight {array.name} holds values that are not finite")
    return values


def _is_plain(array: h5py.Dataset) -> bool:
    """Whether an array is float32 data stored once, in full, in this file."""
    if array.dtype != np.float32 or array.external or array.is_virtual or array.chunks:
        return False
    # An array that was never written takes no space in the file, but may have any shape.
    return bool(array.id.get_storage_size() == 4 * math.prod(array.shape))
