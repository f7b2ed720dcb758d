"""Rebuilding the network: only known layers, with known options and plain values."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import h5py
import keras
from keras import layers

from models.release.files import MAX_BYTES
from trainer.keras_import.errors import RefusedError
from trainer.keras_import.weights import read_weights

MAX_LAYERS: Final = 1000
MAX_SIDE: Final = 1024
ACTIVATIONS: Final = ("linear", "relu", "relu6", "softmax")

_CONVOLUTION: Final = (
    "kernel_size",
    "strides",
    "padding",
    "data_format",
    "dilation_rate",
    "activation",
    "use_bias",
)
OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "Conv2D": (*_CONVOLUTION, "filters", "groups"),
    "DepthwiseConv2D": (*_CONVOLUTION, "depth_multiplier"),
    "ZeroPadding2D": ("padding", "data_format"),
    "BatchNormalization": ("epsilon", "center", "scale"),
    "MaxPooling2D": ("pool_size", "strides", "padding", "data_format"),
    "GlobalAveragePooling2D": ("data_format", "keepdims"),
    "GlobalMaxPooling2D": ("data_format", "keepdims"),
    "Flatten": ("data_format",),
    "Dense": ("units", "activation", "use_bias"),
    "Add": (),
    "Activation": ("activation",),
    "ReLU": ("max_value", "negative_slope", "threshold"),
    "Dropout": ("rate",),
}
"""The known kinds of layer, and their options that matter beyond training."""


@dataclass(frozen=True)
class _LayerConfig:
    """A layer as the config describes it; `parents` are the layers whose outputs it takes."""

    kind: str
    name: str
    options: Mapping[str, Any]
    parents: tuple[str, ...]


def build_network(config: Mapping[str, Any], weights: h5py.File) -> keras.Model:
    """Builds a new network from a config of plain values, and gives it the weights.

    Raises:
        RefusedError: the config is broken, a layer or option is unknown, or a weight does not fit.
    """
    try:
        layer_configs = _parse_config(config)
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
        raise RefusedError(f"its config is broken: {type(error).__name__}: {error}") from error

    keras.utils.clear_session()
    builder = _Builder(weights)
    for layer in layer_configs:
        try:
            builder.add(layer)
        except RefusedError:
            raise
        except Exception as error:  # HDF5 and Keras raise almost any exception on broken data.
            raise RefusedError(
                f"its layer {layer.name!r} ({layer.kind}) cannot be rebuilt: {error}"
            ) from error

    if builder.input is None or len(layer_configs) < 2:
        raise RefusedError("it has no input layer, or no layer after it")
    return keras.Model(builder.input, builder.outputs[layer_configs[-1].name])


class _Builder:
    """Builds layer after layer.

    Attributes:
        input: the network's input; None before its input layer was added.
        outputs: each layer's output, by the layer's name.
    """

    def __init__(self, weights: h5py.File) -> None:
        self.input: Any = None
        self.outputs: dict[str, Any] = {}
        self._weights = weights
        self._counts: Counter[str] = Counter()
        self._weight_bytes = 0

    def add(self, config: _LayerConfig) -> None:
        if config.kind == "InputLayer":
            self._add_input(config)
        else:
            self._add_layer(config)

    def _add_input(self, config: _LayerConfig) -> None:
        if self.input is not None:
            raise RefusedError("it has several inputs")
        self.input = keras.Input(_parse_input_shape(config.options), name=config.name)
        self.outputs[config.name] = self.input

    def _add_layer(self, config: _LayerConfig) -> None:
        layer = _make_layer(config)
        inputs = [self.outputs[name] for name in config.parents]
        index = self._counts[config.kind]
        self._counts[config.kind] += 1

        # Checked before the layer allocates its weights, whose declared size may be anything.
        # Layers may also share one array of the file, so its size limits nothing.
        shapes = _weight_shapes(layer, inputs)
        self._weight_bytes += 4 * sum(math.prod(shape) for shape in shapes)
        if self._weight_bytes > MAX_BYTES:
            raise RefusedError(f"its weights are more than {MAX_BYTES:,} bytes")

        values = read_weights(self._weights, config.kind, index, config.name, shapes)
        self.outputs[config.name] = layer(inputs if config.kind == "Add" else inputs[0])
        layer.set_weights(values)


# --- From the config to layer descriptions ---


def _parse_config(config: Mapping[str, Any]) -> list[_LayerConfig]:
    """The layers of a sequential or functional network, each after its parents."""
    network_class = config["class_name"]
    if network_class not in ("Sequential", "Functional"):
        raise RefusedError(
            f"it is a {network_class!r}; only Sequential and Functional can be rebuilt"
        )
    entries = config["config"]["layers"]
    if len(entries) > MAX_LAYERS:
        raise RefusedError(f"it has more than {MAX_LAYERS} layers")

    parsed: list[_LayerConfig] = []
    names: set[str] = set()
    for entry in entries:
        kind, name = entry["class_name"], str(entry["config"]["name"])
        _check_layer(kind, name)
        if name in names:
            raise RefusedError(f"two of its layers have the same name, {name!r}")

        if network_class == "Functional":
            parents = _parse_parents(entry["inbound_nodes"])
        else:
            parents = tuple(previous.name for previous in parsed[-1:])
        parsed.append(_LayerConfig(kind, name, entry["config"], parents))
        names.add(name)
    return parsed


def _check_layer(kind: Any, name: str) -> None:
    if kind != "InputLayer" and kind not in OPTIONS:
        known = ", ".join(OPTIONS)
        raise RefusedError(f"its layer {name!r} is a {str(kind)[:80]!r}; known: {known}")
    if not re.fullmatch(r"[\w.-]{1,80}", name):
        raise RefusedError(f"one of its layers has the invalid name {name[:80]!r}")


def _parse_parents(nodes: Sequence[Any]) -> tuple[str, ...]:
    """The layers whose outputs a layer takes.

    Keras 2 lists them as [name, node, tensor, {}]; Keras 3 describes tensors by their history.
    """
    if len(nodes) > 1:
        raise RefusedError("one of its layers is used several times")
    if not nodes:
        return ()

    node = nodes[0]
    if isinstance(node, list):
        return tuple(str(name) for name, _, _, _ in node)

    tensors = node["args"][0]
    if not isinstance(tensors, list):
        tensors = [tensors]
    return tuple(str(tensor["config"]["keras_history"][0]) for tensor in tensors)


def _parse_input_shape(options: Mapping[str, Any]) -> tuple[int, int, int]:
    shape = options.get("batch_shape") or options["batch_input_shape"]
    batch, *image = shape
    if batch is not None or len(image) != 3 or not all(map(_is_side, image[:2])):
        raise RefusedError(
            f"its input is {shape}; expected [null, height, width, 3], with sides of 8 to "
            f"{MAX_SIDE} pixels"
        )

    height, width, channels = image
    if channels != 3:
        raise RefusedError(f"its input has {channels} channels, expected 3")
    return height, width, 3


def _is_side(value: Any) -> bool:
    return type(value) is int and 8 <= value <= MAX_SIDE


# --- From layer descriptions to layers ---


def _make_layer(config: _LayerConfig) -> keras.Layer:
    """A Keras layer, made only of options that are known and plain."""
    options: dict[str, Any] = {}
    for name in OPTIONS[config.kind]:
        if name in config.options:
            options[name] = _unwrap(config.options[name])
            _check_option(config.name, name, options[name])

    axis = config.options.get("axis")
    if config.kind == "BatchNormalization" and axis not in (-1, 3, [3], [-1]):
        raise RefusedError(f"its layer {config.name!r} has axis {axis!r}, expected the last")
    return getattr(layers, config.kind)(name=config.name, **options)


def _unwrap(value: Any) -> Any:
    """Keras 2 wraps numbers that were NumPy's."""
    if isinstance(value, dict) and value.get("class_name") == "__numpy__":
        return value["config"]["value"]
    return value


def _check_option(layer: str, name: str, value: Any) -> None:
    if name == "activation" and value not in ACTIVATIONS:
        raise RefusedError(
            f"its layer {layer!r} has activation {str(value)[:80]!r}; "
            f"known: {', '.join(ACTIVATIONS)}"
        )
    if not _is_plain(value):
        raise RefusedError(
            f"its layer {layer!r} has {name} {str(value)[:80]}, expected a plain value"
        )


def _is_plain(value: Any) -> bool:
    """Whether a value is None, text, a number that a layer can have, or a short list of such."""
    if isinstance(value, list):
        return len(value) <= 4 and all(_is_plain(item) for item in value)
    if isinstance(value, int) and not isinstance(value, bool):
        return 0 <= value <= 2**20
    return value is None or isinstance(value, str | bool | float)


def _weight_shapes(layer: keras.Layer, inputs: Sequence[Any]) -> list[tuple[int, ...]]:
    """The shapes of the weights that a layer will have, in Keras' order."""
    channels = inputs[0].shape[-1]
    if isinstance(layer, layers.BatchNormalization):
        return [(channels,)] * (2 + int(layer.center) + int(layer.scale))

    kernel: tuple[int, ...]
    if isinstance(layer, layers.Dense):
        kernel = (channels, layer.units)
        outputs = layer.units
    elif isinstance(layer, layers.DepthwiseConv2D):
        kernel = (*layer.kernel_size, channels, layer.depth_multiplier)
        outputs = channels * layer.depth_multiplier
    elif isinstance(layer, layers.Conv2D):
        kernel = (*layer.kernel_size, channels // layer.groups, layer.filters)
        outputs = layer.filters
    else:
        return []
    return [kernel, (outputs,)] if layer.use_bias else [kernel]
