"""Rebuilding the network: only known layers, with known options and plain values."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import keras
import numpy as np
from keras import layers

from models.labels import EMOTIONS
from models.release.files import MAX_BYTES
from trainer.keras_import.archive import Archive
from trainer.keras_import.config import (
    OPTIONS,
    LayerConfig,
    find_head,
    parse_config,
    parse_input_shape,
    take_rescaling,
)
from trainer.keras_import.errors import RefusedError
from trainer.keras_import.labels import check_count, widen
from trainer.keras_import.weights import read_weights

ACTIVATIONS: Final = ("linear", "relu", "relu6", "sigmoid", "softmax")


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


def build_network(archive: Archive, labels: Sequence[int] = ()) -> Network:
    """Builds a new network from a config of plain values, and gives it the weights.

    Args:
        labels: indices into `EMOTIONS` of the original's scores, in order; empty = it has all 28.

    Raises:
        RefusedError: the config is broken, a layer or option is unknown, or a weight does not fit.
    """
    try:
        layer_configs, output = parse_config(archive.config)
        layer_configs, scaling = take_rescaling(layer_configs)
        head = find_head(layer_configs, output) if labels else ""
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
        raise RefusedError(f"its config is broken: {type(error).__name__}: {error}") from error

    keras.utils.clear_session()
    builder = _Builder(archive, head, labels)
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

    def __init__(self, archive: Archive, head: str, labels: Sequence[int]) -> None:
        self.input: Any = None
        self.is_grey = False
        self.outputs: dict[str, Any] = {}
        self._head, self._labels = head, labels
        self._archive = archive
        self._weight_bytes = 0

    def add(self, config: LayerConfig) -> None:
        if config.name in self.outputs:  # `a.b` may also be the layer b of the network a.
            raise RefusedError(f"two of its layers have the same name, {config.name!r}")
        if config.kind == "InputLayer":
            self._add_input(config)
        else:
            self._add_layer(config)

    def _add_input(self, config: LayerConfig) -> None:
        if self.input is not None:
            raise RefusedError("it has several inputs")
        height, width, channels = parse_input_shape(config.options)
        self.input = keras.Input((height, width, 3), name=config.name)
        self.outputs[config.name] = self.input

        # Cuemill gives grey three times. The first of these is what the original takes.
        if channels == 1:
            self.is_grey = True
            first = layers.Conv2D(1, 1, use_bias=False, name=f"{config.name}.first")
            self.outputs[config.name] = first(self.input)
            first.set_weights([np.array([1, 0, 0], np.float32).reshape(1, 1, 3, 1)])

    def _add_layer(self, config: LayerConfig) -> None:
        layer = _make_layer(config)
        inputs = [self.outputs[name] for name in config.parents]
        _check_inputs(config, inputs)

        # Checked before the layer allocates its weights, whose declared size may be anything.
        # Layers may also share one array of the file, so its size limits nothing.
        shapes = _weight_shapes(layer, inputs)
        self._weight_bytes += 4 * sum(math.prod(shape) for shape in shapes)
        if self._weight_bytes > MAX_BYTES:
            raise RefusedError(f"its weights are more than {MAX_BYTES:,} bytes")

        values = read_weights(self._archive, config, shapes)
        if config.name == self._head:
            check_count(layer.units, len(self._labels))
            layer = layers.Dense(len(EMOTIONS), layer.activation, name=config.name)
            values = widen(values, self._labels)
        self.outputs[config.name] = layer(inputs if config.kind == "Add" else inputs[0])
        layer.set_weights(values)


def _check_inputs(config: LayerConfig, inputs: Sequence[Any]) -> None:
    if config.kind != "Add" and len(inputs) != 1:
        raise RefusedError(f"its layer {config.name!r} takes {len(inputs)} inputs, expected 1")
    if len({tuple(tensor.shape) for tensor in inputs}) > 1:
        raise RefusedError(f"its layer {config.name!r} adds outputs of different shapes")


def _make_layer(config: LayerConfig) -> keras.Layer:
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
