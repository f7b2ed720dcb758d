"""Rebuilding the network: only known layers, with known options and plain values."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import h5py
import keras
import numpy as np
from keras import layers

from models.labels import EMOTIONS
from models.release.files import MAX_BYTES
from trainer.keras_import.errors import RefusedError
from trainer.keras_import.labels import check_count, widen
from trainer.keras_import.weights import read_weights

MAX_LAYERS: Final = 1000
MAX_SIDE: Final = 1024
MAX_SCALE: Final = 1 / 32
"""A layer that scales the input by more does not get pixels from 0 to 255."""

ACTIVATIONS: Final = ("linear", "relu", "relu6", "sigmoid", "softmax")

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
    "SeparableConv2D": (*_CONVOLUTION, "filters", "depth_multiplier"),
    "ZeroPadding2D": ("padding", "data_format"),
    "BatchNormalization": ("epsilon", "center", "scale"),
    "MaxPooling2D": ("pool_size", "strides", "padding", "data_format"),
    "AveragePooling2D": ("pool_size", "strides", "padding", "data_format"),
    "GlobalAveragePooling2D": ("data_format", "keepdims"),
    "GlobalMaxPooling2D": ("data_format", "keepdims"),
    "Flatten": ("data_format",),
    "Dense": ("units", "activation", "use_bias"),
    "Add": (),
    "Activation": ("activation",),
    "ReLU": ("max_value", "negative_slope", "threshold"),
    "LeakyReLU": ("negative_slope",),
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


@dataclass(frozen=True)
class Network:
    """The rebuilt network, of three channels, and what it expects of its input.

    Attributes:
        is_grey: whether the original has one channel.
        scale, offset: how the original's first layer scales pixels from 0 to 255; None = it has no
            such layer.
    """

    model: keras.Model
    is_grey: bool
    scaling: tuple[float, float] | None


def build_network(
    config: Mapping[str, Any], weights: h5py.File, labels: Sequence[int] = ()
) -> Network:
    """Builds a new network from a config of plain values, and gives it the weights.

    Args:
        labels: indices into `EMOTIONS` of the original's scores, in order; empty = it has all 28.

    Raises:
        RefusedError: the config is broken, a layer or option is unknown, or a weight does not fit.
    """
    try:
        layer_configs, output = _parse_config(config)
        layer_configs, scaling = _take_rescaling(layer_configs)
        head = _find_head(layer_configs, output) if labels else ""
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
        raise RefusedError(f"its config is broken: {type(error).__name__}: {error}") from error

    keras.utils.clear_session()
    builder = _Builder(weights, head, labels)
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
    model = keras.Model(builder.input, builder.outputs[output])
    if not labels and len(model.output_shape) == 2:
        check_count(model.output_shape[-1], 0)
    return Network(model, builder.is_grey, scaling)


class _Builder:
    """Builds layer after layer.

    Args:
        head: the name of the layer that gives the scores of `labels`, which gets 28; "" = none.

    Attributes:
        is_grey: whether the original's input has one channel.
        input: the network's input; None before its input layer was added.
        outputs: each layer's output, by the layer's name.
    """

    def __init__(self, weights: h5py.File, head: str, labels: Sequence[int]) -> None:
        self.input: Any = None
        self.is_grey = False
        self.outputs: dict[str, Any] = {}
        self._head, self._labels = head, labels
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
        height, width, channels = _parse_input_shape(config.options)
        self.input = keras.Input((height, width, 3), name=config.name)
        self.outputs[config.name] = self.input

        # Cuemill gives grey three times. The first of these is what the original takes.
        if channels == 1:
            self.is_grey = True
            first = layers.Conv2D(1, 1, use_bias=False, name=f"{config.name}.first")
            self.outputs[config.name] = first(self.input)
            first.set_weights([np.array([1, 0, 0], np.float32).reshape(1, 1, 3, 1)])

    def _add_layer(self, config: _LayerConfig) -> None:
        layer = _make_layer(config)
        inputs = [self.outputs[name] for name in config.parents]
        _check_inputs(config, inputs)
        index = self._counts[config.kind]
        self._counts[config.kind] += 1

        # Checked before the layer allocates its weights, whose declared size may be anything.
        # Layers may also share one array of the file, so its size limits nothing.
        shapes = _weight_shapes(layer, inputs)
        self._weight_bytes += 4 * sum(math.prod(shape) for shape in shapes)
        if self._weight_bytes > MAX_BYTES:
            raise RefusedError(f"its weights are more than {MAX_BYTES:,} bytes")

        values = read_weights(self._weights, config.kind, index, config.name, shapes)
        if config.name == self._head:
            check_count(layer.units, len(self._labels))
            layer = layers.Dense(len(EMOTIONS), layer.activation, name=config.name)
            values = widen(values, self._labels)
        self.outputs[config.name] = layer(inputs if config.kind == "Add" else inputs[0])
        layer.set_weights(values)


# --- From the config to layer descriptions ---


def _parse_config(config: Mapping[str, Any]) -> tuple[list[_LayerConfig], str]:
    """The layers of a sequential or functional network, each after its parents, and the last's."""
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

    if network_class == "Sequential":
        return parsed, parsed[-1].name
    return parsed, _parse_output(config["config"]["output_layers"])


def _parse_output(outputs: Sequence[Any]) -> str:
    """The layer whose output is the network's: Keras 2 lists [[name, 0, 0]], Keras 3 the inner."""
    if isinstance(outputs[0], list):
        if len(outputs) != 1:
            raise RefusedError(f"it has {len(outputs)} outputs, expected 1")
        outputs = outputs[0]
    return str(outputs[0])


def _take_rescaling(
    configs: list[_LayerConfig],
) -> tuple[list[_LayerConfig], tuple[float, float] | None]:
    """Takes a Rescaling layer at the input out; Cuemill scales pixels before the network."""
    found = [config for config in configs if config.kind == "Rescaling"]
    if not found:
        return configs, None

    rescaling, inputs = found[0], [c.name for c in configs if c.kind == "InputLayer"]
    users = [config for config in configs if set(config.parents) & set(inputs)]
    if len(found) > 1 or users != [rescaling]:
        raise RefusedError(
            f"its layer {rescaling.name!r} is a Rescaling that is not alone at the input"
        )

    scale, offset = rescaling.options["scale"], rescaling.options["offset"]
    if not (_is_number(scale) and _is_number(offset) and 0 < scale <= MAX_SCALE):
        raise RefusedError(
            f"its layer {rescaling.name!r} has scale {str(scale)[:80]} and offset "
            f"{str(offset)[:80]}; expected numbers for pixels from 0 to 255, such as 1/255 and 0"
        )

    renamed = {rescaling.name: inputs[0]}
    kept = [
        replace(config, parents=tuple(renamed.get(name, name) for name in config.parents))
        for config in configs
        if config is not rescaling
    ]
    return kept, (float(scale), float(offset))


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _find_head(configs: list[_LayerConfig], output: str) -> str:
    """The dense layer behind the network's softmax."""
    by_name = {config.name: config for config in configs}
    layer = by_name[output]
    while layer.kind in ("Activation", "Softmax", "Dropout") and len(layer.parents) == 1:
        layer = by_name[layer.parents[0]]
    if layer.kind != "Dense":
        raise RefusedError(
            f"its scores come from the layer {layer.name!r}, a {layer.kind}; other labels than "
            "the 28 need a Dense"
        )
    return layer.name


def _check_layer(kind: Any, name: str) -> None:
    if kind not in ("InputLayer", "Rescaling") and kind not in OPTIONS:
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

    # A layer takes a list of tensors, an operation such as `a + b` one argument after another.
    tensors: list[Any] = []
    for argument in node["args"]:
        tensors.extend(argument if isinstance(argument, list) else [argument])
    if "__keras_tensor__" in str(node["kwargs"]):
        raise RefusedError("one of its layers takes a tensor by name")
    if not all(isinstance(tensor, dict) for tensor in tensors):
        raise RefusedError("one of its operations takes a constant")
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
    if channels not in (1, 3):
        raise RefusedError(f"its input has {channels} channels, expected 1 or 3")
    return height, width, channels


def _is_side(value: Any) -> bool:
    return type(value) is int and 8 <= value <= MAX_SIDE


# --- From layer descriptions to layers ---


def _check_inputs(config: _LayerConfig, inputs: Sequence[Any]) -> None:
    if config.kind != "Add" and len(inputs) != 1:
        raise RefusedError(f"its layer {config.name!r} takes {len(inputs)} inputs, expected 1")
    if len({tuple(tensor.shape) for tensor in inputs}) > 1:
        raise RefusedError(f"its layer {config.name!r} adds outputs of different shapes")


def _make_layer(config: _LayerConfig) -> keras.Layer:
    """A Keras layer, made only of options that are known and plain."""
    options: dict[str, Any] = {}
    for name in OPTIONS[config.kind]:
        if name in config.options:
            options[name] = _unwrap(config.options[name])
            _check_option(config.name, name, options[name])

    if config.kind == "LeakyReLU" and "alpha" in config.options:  # Keras 2's name.
        options["negative_slope"] = _unwrap(config.options["alpha"])
        _check_option(config.name, "alpha", options["negative_slope"])

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
    elif isinstance(layer, layers.SeparableConv2D):
        depth = channels * layer.depth_multiplier
        depthwise = (*layer.kernel_size, channels, layer.depth_multiplier)
        pointwise = (1, 1, depth, layer.filters)
        bias = [(layer.filters,)] if layer.use_bias else []
        return [depthwise, pointwise, *bias]
    elif isinstance(layer, layers.Conv2D):
        kernel = (*layer.kernel_size, channels // layer.groups, layer.filters)
        outputs = layer.filters
    else:
        return []
    return [kernel, (outputs,)] if layer.use_bias else [kernel]
