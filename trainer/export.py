"""From a fitted Keras model to a release: the network as plain nodes, and each weight once.

The nodes' form is told in `worker/engines/graph.py`, which runs them. Keras' own JSON goes along, to train on from.
"""

import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from models.errors import EngineError
from models.labels import EMOTIONS
from models.pickles import Node, Release
from models.preprocessing import Preprocessing

INPUT: Final = "input"
ACTIVATIONS: Final = ("relu", "softmax")


@dataclass(frozen=True)
class _Step:
    """One op of a layer; `weights` maps the op's word for a weight to Keras' name of the variable."""

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
) -> Release:
    """Converts a network of the 28 emotions' scores for the pickle.

    Raises:
        EngineError: a layer, one of its options or an activation has no counterpart in the engines; names it.
    """
    network = to_nodes(model)
    if not network or network[-1]["op"] != "softmax":
        raise EngineError(f"{model.name} ends without a softmax; its last layer needs activation='softmax'.")
    config = json.loads(model.to_json())
    config.pop("compile_config", None)
    return Release(
        name=name,
        labels=EMOTIONS,
        trained_labels=trained_labels,
        preprocessing=preprocessing,
        network=network,
        weights=_weights(model),
        keras_config=json.dumps(config),
        metrics=metrics,
        data=data,
        training=training,
        versions=_versions(),
    )


def to_nodes(model: keras.Model) -> list[Node]:
    """The layers of a sequential network as nodes, each fed by the one before; dropout vanishes.

    Raises:
        EngineError: as `export`.
    """
    if not isinstance(model, keras.Sequential):
        raise EngineError(f"{model.name} is a {type(model).__name__}; only sequential networks can be exported.")
    nodes: list[Node] = []
    for layer in model.layers:
        for i, step in enumerate(_steps(layer)):
            nodes.append(
                {
                    "op": step.op,
                    "name": layer.name if i == 0 else f"{layer.name}/{step.op}",
                    "inputs": [nodes[-1]["name"] if nodes else INPUT],
                    "weights": {role: f"{layer.name}/{variable}" for role, variable in step.weights.items()},
                    "attributes": dict(step.attributes),
                }
            )
    return nodes


def _weights(model: keras.Model) -> dict[str, NDArray[np.float32]]:
    return {
        f"{layer.name}/{variable.name}": np.asarray(variable, np.float32)
        for layer in model.layers
        for variable in layer.weights
    }


def _versions() -> dict[str, str]:
    libraries = {"keras": keras.__version__, "tensorflow": tf.__version__, "numpy": np.__version__}
    return {"python": platform.python_version(), **libraries}


def _steps(layer: keras.Layer) -> list[_Step]:
    convert = _CONVERTERS.get(type(layer))
    if convert is None:
        known = ", ".join(kind.__name__ for kind in _CONVERTERS)
        raise EngineError(f"Layer {layer.name} is a {type(layer).__name__}; layers that can be exported: {known}.")
    return convert(layer)


def _require(layer: keras.Layer, **options: Any) -> None:
    """Refuses a layer with an option that its op doesn't have, which would otherwise be lost without a word."""
    for option, expected in options.items():
        found = getattr(layer, option)
        if found != expected:
            raise EngineError(f"Layer {layer.name} has {option} {found!r}; only {expected!r} can be exported.")


def _activation(layer: keras.Layer) -> list[_Step]:
    name = keras.activations.serialize(layer.activation)
    if name == "linear":
        return []
    if name not in ACTIVATIONS:
        raise EngineError(
            f"Layer {layer.name} has activation {name!r}; those that can be exported: {', '.join(ACTIVATIONS)}."
        )
    return [_Step(name)]


def _kernel_and_bias(layer: keras.Layer) -> dict[str, str]:
    return {"kernel": "kernel", "bias": "bias"} if layer.use_bias else {"kernel": "kernel"}


def _conv2d(layer: keras.Layer) -> list[_Step]:
    _require(layer, data_format="channels_last", dilation_rate=(1, 1), groups=1)
    attributes = {"strides": list(layer.strides), "padding": layer.padding}
    return [_Step("conv2d", _kernel_and_bias(layer), attributes), *_activation(layer)]


def _batch_norm(layer: keras.Layer) -> list[_Step]:
    _require(layer, axis=-1, center=True, scale=True, renorm=False)
    weights = {"gamma": "gamma", "beta": "beta", "mean": "moving_mean", "variance": "moving_variance"}
    return [_Step("batch_norm", weights, {"epsilon": float(layer.epsilon)})]


def _max_pool2d(layer: keras.Layer) -> list[_Step]:
    _require(layer, data_format="channels_last")
    attributes = {"size": list(layer.pool_size), "strides": list(layer.strides), "padding": layer.padding}
    return [_Step("max_pool2d", {}, attributes)]


def _flatten(layer: keras.Layer) -> list[_Step]:
    _require(layer, data_format="channels_last")
    return [_Step("flatten")]


def _dense(layer: keras.Layer) -> list[_Step]:
    return [_Step("dense", _kernel_and_bias(layer)), *_activation(layer)]


def _dropout(_layer: keras.Layer) -> list[_Step]:
    return []


_CONVERTERS: Final[dict[type[Any], Callable[[Any], list[_Step]]]] = {
    keras.layers.Conv2D: _conv2d,
    keras.layers.BatchNormalization: _batch_norm,
    keras.layers.MaxPooling2D: _max_pool2d,
    keras.layers.Flatten: _flatten,
    keras.layers.Dense: _dense,
    keras.layers.Activation: _activation,
    keras.layers.Dropout: _dropout,
}
