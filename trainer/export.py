"""Exporting a fitted Keras model as a release: the network as plain nodes, and each weight once.

`worker/engines/graph.py` runs the nodes and documents their format. The release also keeps Keras'
own config, so that training can continue from it.
"""

import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

from models.errors import EngineError
from models.labels import EMOTIONS
from models.pictures.preprocessing import Preprocessing
from models.release.release import Node, Release

INPUT: Final = "input"
ACTIVATIONS: Final = ("relu", "relu6", "sigmoid", "softmax")


@dataclass(frozen=True)
class _Step:
    """One op of a layer; `weights` maps each role in the op to the name of Keras' variable."""

    op: str
    weights: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)


def export(
    model: keras.Model,
    name: str,
    preprocessing: Preprocessing,
    trained_labels: tuple[str, ...],
    metrics: Mapping[str, float],
    data: Mapping[str, Any],
    training: Mapping[str, Any],
    calibration: Mapping[str, float] | None = None,
) -> Release:
    """Converts a network with the 28 emotions' scores as its output.

    Raises:
        EngineError: a layer, option or activation has no counterpart in the engines.
    """
    network = to_nodes(model)
    if not network or network[-1]["op"] != "softmax":
        raise EngineError(
            f"{model.name} does not end in a softmax. Give its last layer activation='softmax'."
        )

    config = json.loads(model.to_json())
    config.pop("compile_config", None)  # How it was fitted does not matter for running it.
    return Release(
        name=name,
        labels=EMOTIONS,
        trained_labels=trained_labels,
        preprocessing=preprocessing,
        network=network,
        weights=_weights(model),
        keras_config=json.dumps(config),
        metrics=metrics,
        calibration=calibration or {},
        data=data,
        training=training,
        versions=_versions(),
    )


def to_nodes(model: keras.Model) -> list[Node]:
    """The layers as nodes, each after its inputs. Layers that only act in training are left out.

    Args:
        model: a network with one input and one output.

    Raises:
        EngineError: as `export`.
    """
    nodes: list[Node] = []
    outputs: dict[str, str] = {}  # Each layer's name, and the node that gives its output.
    for layer in model.layers:
        inputs = [outputs.get(parent.name, INPUT) for parent in _parents(layer)]

        for index, step in enumerate(_steps(layer)):
            name = layer.name if index == 0 else f"{layer.name}/{step.op}"
            weights = {role: f"{layer.name}/{variable}" for role, variable in step.weights.items()}
            nodes.append(
                {
                    "op": step.op,
                    "name": name,
                    "inputs": inputs,
                    "weights": weights,
                    "attributes": dict(step.attributes),
                }
            )
            inputs = [name]

        outputs[layer.name] = inputs[0] if inputs else INPUT
    return nodes


def _parents(layer: keras.Layer) -> list[keras.Layer]:
    """The layers whose outputs a layer takes, including the input layer of a Sequential model."""
    uses = layer._inbound_nodes
    if len(uses) != 1:
        raise EngineError(
            f"Layer {layer.name} is used {len(uses)} times. Only layers used once can be exported."
        )
    return [tensor._keras_history.operation for tensor in uses[0].input_tensors]


def _weights(model: keras.Model) -> dict[str, NDArray[np.float32]]:
    return {
        f"{layer.name}/{variable.name}": np.asarray(
            keras.ops.convert_to_numpy(variable), np.float32
        )
        for layer in model.layers
        for variable in layer.weights
    }


def _versions() -> dict[str, str]:
    backend = import_module(keras.backend.backend())
    libraries = {module.__name__: str(module.__version__) for module in (keras, backend, np)}
    return {"python": platform.python_version(), **libraries}


def _steps(layer: keras.Layer) -> list[_Step]:
    convert = _CONVERTERS.get(type(layer))
    if convert is None:
        known = ", ".join(kind.__name__ for kind in _CONVERTERS)
        raise EngineError(
            f"Layer {layer.name} is a {type(layer).__name__}, which cannot be exported. "
            f"Supported: {known}."
        )
    return convert(layer)


def _require(layer: keras.Layer, **options: Any) -> None:
    """Refuses a layer with an option that its op lacks and that would be lost silently."""
    for option, expected in options.items():
        value = getattr(layer, option)
        if value != expected:
            raise EngineError(
                f"Layer {layer.name} has {option} {value!r}; only {expected!r} can be exported."
            )


def _activation(layer: keras.Layer) -> list[_Step]:
    name = keras.activations.serialize(layer.activation)
    if name == "linear":
        return []
    if name not in ACTIVATIONS:
        raise EngineError(
            f"Layer {layer.name} has activation {name!r}, which cannot be exported. "
            f"Supported: {', '.join(ACTIVATIONS)}."
        )
    return [_Step(name)]


def _kernel_and_bias(layer: keras.Layer) -> dict[str, str]:
    return {"kernel": "kernel", "bias": "bias"} if layer.use_bias else {"kernel": "kernel"}


def _conv2d(layer: keras.Layer) -> list[_Step]:
    _require(layer, data_format="channels_last", dilation_rate=(1, 1), groups=1)
    attributes = {"strides": list(layer.strides), "padding": layer.padding}
    return [_Step("conv2d", _kernel_and_bias(layer), attributes), *_activation(layer)]


def _depthwise_conv2d(layer: keras.Layer) -> list[_Step]:
    _require(layer, data_format="channels_last", dilation_rate=(1, 1), depth_multiplier=1)
    attributes = {"strides": list(layer.strides), "padding": layer.padding}
    return [_Step("depthwise_conv2d", _kernel_and_bias(layer), attributes), *_activation(layer)]


def _separable_conv2d(layer: keras.Layer) -> list[_Step]:
    _require(layer, data_format="channels_last", dilation_rate=(1, 1), depth_multiplier=1)
    spatial = {"strides": list(layer.strides), "padding": layer.padding}
    pointwise = {**_kernel_and_bias(layer), "kernel": "pointwise_kernel"}
    return [
        _Step("depthwise_conv2d", {"kernel": "depthwise_kernel"}, spatial),
        _Step("conv2d", pointwise, {"strides": [1, 1], "padding": "valid"}),
        *_activation(layer),
    ]


def _zero_padding2d(layer: keras.Layer) -> list[_Step]:
    _require(layer, data_format="channels_last")
    (top, bottom), (left, right) = layer.padding
    return [_Step("zero_padding2d", {}, {"top_left": [top, left], "bottom_right": [bottom, right]})]


def _batch_norm(layer: keras.Layer) -> list[_Step]:
    _require(layer, axis=-1, center=True, scale=True, renorm=False)
    weights = {
        "gamma": "gamma",
        "beta": "beta",
        "mean": "moving_mean",
        "variance": "moving_variance",
    }
    return [_Step("batch_norm", weights, {"epsilon": float(layer.epsilon)})]


def _max_pool2d(layer: keras.Layer) -> list[_Step]:
    return [_Step("max_pool2d", {}, _window(layer))]


def _avg_pool2d(layer: keras.Layer) -> list[_Step]:
    return [_Step("avg_pool2d", {}, _window(layer))]


def _window(layer: keras.Layer) -> dict[str, Any]:
    _require(layer, data_format="channels_last")
    return {
        "size": list(layer.pool_size),
        "strides": list(layer.strides),
        "padding": layer.padding,
    }


def _flatten(layer: keras.Layer) -> list[_Step]:
    _require(layer, data_format="channels_last")
    return [_Step("flatten")]


def _dense(layer: keras.Layer) -> list[_Step]:
    return [_Step("dense", _kernel_and_bias(layer)), *_activation(layer)]


def _relu(layer: keras.Layer) -> list[_Step]:
    _require(layer, negative_slope=0.0, threshold=0.0)
    if layer.max_value not in (None, 6.0):
        raise EngineError(
            f"Layer {layer.name} has max_value {layer.max_value}; only None and 6 can be exported."
        )
    return [_Step("relu" if layer.max_value is None else "relu6")]


def _leaky_relu(layer: keras.Layer) -> list[_Step]:
    return [_Step("leaky_relu", {}, {"slope": float(layer.negative_slope)})]


def _global_average_pool2d(layer: keras.Layer) -> list[_Step]:
    _require(layer, data_format="channels_last", keepdims=False)
    return [_Step("global_average_pool2d")]


def _global_max_pool2d(layer: keras.Layer) -> list[_Step]:
    _require(layer, data_format="channels_last", keepdims=False)
    return [_Step("global_max_pool2d")]


def _add(layer: keras.Layer) -> list[_Step]:
    if len(layer.input) != 2:
        raise EngineError(
            f"Layer {layer.name} adds {len(layer.input)} inputs; only 2 can be exported."
        )
    return [_Step("add")]


def _no_steps(_layer: keras.Layer) -> list[_Step]:
    return []


_CONVERTERS: Final[dict[type[Any], Callable[[Any], list[_Step]]]] = {
    keras.layers.InputLayer: _no_steps,
    keras.layers.Conv2D: _conv2d,
    keras.layers.DepthwiseConv2D: _depthwise_conv2d,
    keras.layers.SeparableConv2D: _separable_conv2d,
    keras.layers.ZeroPadding2D: _zero_padding2d,
    keras.layers.BatchNormalization: _batch_norm,
    keras.layers.MaxPooling2D: _max_pool2d,
    keras.layers.AveragePooling2D: _avg_pool2d,
    keras.layers.GlobalAveragePooling2D: _global_average_pool2d,
    keras.layers.GlobalMaxPooling2D: _global_max_pool2d,
    keras.layers.Flatten: _flatten,
    keras.layers.Dense: _dense,
    keras.layers.Add: _add,
    keras.layers.Activation: _activation,
    keras.layers.ReLU: _relu,
    keras.layers.LeakyReLU: _leaky_relu,
    keras.layers.Dropout: _no_steps,
}
