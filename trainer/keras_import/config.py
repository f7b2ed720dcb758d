"""From Keras' config to a flat list of layers: only known kinds, each after its parents."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from trainer.keras_import.errors import RefusedError

NETWORKS: Final = ("Sequential", "Functional")
MAX_LAYERS: Final = 1000
MAX_DEPTH: Final = 8
MAX_SIDE: Final = 1024
MAX_SCALE: Final = 1 / 32
"""A layer that scales the input by more does not get pixels from 0 to 255."""

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

Scope = tuple[tuple[str, str, int], ...]
"""The networks that a layer is in, from the outside: the name of each, its kind, and its number
among those of its kind beside it."""


@dataclass(frozen=True)
class LayerConfig:
    """A layer as the config describes it.

    Attributes:
        name: after those of the networks that it is in, such as `base.conv2d`.
        parents: the layers whose outputs it takes.
        index: its number among the layers of its kind in its network.
    """

    kind: str
    name: str
    options: Mapping[str, Any]
    parents: tuple[str, ...]
    scope: Scope = ()
    index: int = 0


def parse_config(config: Mapping[str, Any]) -> tuple[list[LayerConfig], str]:
    """The layers of a sequential or functional network, each after its parents, and the last's.

    Raises:
        RefusedError: a layer is unknown, or the network is not one from one input to one output.
        KeyError, TypeError, IndexError, ValueError, AttributeError: the config is broken.
    """
    network_class = config["class_name"]
    if network_class not in NETWORKS:
        raise RefusedError(
            f"it is a {network_class!r}; only Sequential and Functional can be rebuilt"
        )
    return _parse_network(network_class, config["config"], ())


def _parse_network(
    network_class: str, network: Mapping[str, Any], scope: Scope
) -> tuple[list[LayerConfig], str]:
    """A network's layers, with those of networks inside it in their place."""
    entries = network["layers"]
    if len(entries) > MAX_LAYERS or len(scope) > MAX_DEPTH:
        raise RefusedError(f"it has more than {MAX_LAYERS} layers, or {MAX_DEPTH} inside others")

    parsed: list[LayerConfig] = []
    outputs: dict[str, str] = {}  # By name, the layer that gives a layer's or network's output.
    counts: Counter[str] = Counter()
    prefix = "".join(f"{name}." for name, _, _ in scope)
    for entry in entries:
        kind, name = entry["class_name"], str(entry["config"]["name"])
        _check_layer(kind, name)
        if name in outputs:
            raise RefusedError(f"two of its layers have the same name, {name!r}")

        if network_class == "Functional":
            parents = tuple(outputs[parent] for parent in _parse_parents(entry["inbound_nodes"]))
        else:
            parents = tuple(outputs.values())[-1:]

        index = counts[kind]
        counts[kind] += 1
        if kind in NETWORKS:
            inner, output = _parse_network(kind, entry["config"], (*scope, (name, kind, index)))
            parsed.extend(_join(inner, parents, name))
            outputs[name] = output
        else:
            layer = LayerConfig(kind, prefix + name, entry["config"], parents, scope, index)
            parsed.append(layer)
            outputs[name] = layer.name

    if network_class == "Sequential":
        return parsed, parsed[-1].name
    return parsed, outputs[_parse_output(network["output_layers"])]


def _join(inner: list[LayerConfig], parents: tuple[str, ...], name: str) -> list[LayerConfig]:
    """The layers of a network inside another, which take that one's outputs as their input."""
    inputs = [layer.name for layer in inner if layer.kind == "InputLayer"]
    if len(inputs) != 1 or len(parents) != 1 or len(inner) < 2:
        raise RefusedError(f"its network {name!r} has not one input and layers after it")

    return [
        replace(layer, parents=tuple(parents[0] if p == inputs[0] else p for p in layer.parents))
        for layer in inner
        if layer.kind != "InputLayer"
    ]


def _parse_output(outputs: Sequence[Any]) -> str:
    """The layer whose output is the network's: Keras 2 lists [[name, 0, 0]], Keras 3 the inner."""
    if isinstance(outputs[0], list):
        if len(outputs) != 1:
            raise RefusedError(f"it has {len(outputs)} outputs, expected 1")
        outputs = outputs[0]
    return str(outputs[0])


def take_rescaling(
    configs: list[LayerConfig],
) -> tuple[list[LayerConfig], tuple[float, float] | None]:
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


def find_head(configs: list[LayerConfig], output: str) -> str:
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
    if kind not in ("InputLayer", "Rescaling", *NETWORKS, *OPTIONS):
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


def parse_input_shape(options: Mapping[str, Any]) -> tuple[int, int, int]:
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
