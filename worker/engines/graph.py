"""Builds an OpenVINO graph from a release's network, which is a list of plain nodes.

The nodes come from a file, so everything about them is checked. Each is a dict of `op`, `name`
(unique), `inputs` (names of earlier nodes; the images are called `input`), `weights` (role -> the
weight's name in the release) and `attributes`. The last node's output, (n, labels), is the scores.

| op                    | weights                                      | attributes              |
|-----------------------|----------------------------------------------|-------------------------|
| conv2d                | kernel (height, width, in, out), bias (out,) | strides, padding        |
| depthwise_conv2d      | kernel (height, width, in, 1), bias (in,)    | strides, padding        |
| zero_padding2d        | -                                            | top_left, bottom_right  |
| batch_norm            | gamma, beta, mean, variance (channels,)      | epsilon                 |
| max_pool2d            | -                                            | size, strides, padding  |
| avg_pool2d            | -                                            | size, strides, padding  |
| global_average_pool2d | -                                            | -                       |
| global_max_pool2d     | -                                            | -                       |
| flatten               | -                                            | -                       |
| dense                 | kernel (in, out), bias (out,)                | -                       |
| add                   | -                                            | -                       |
| relu, relu6           | -                                            | -                       |
| leaky_relu            | -                                            | slope                   |
| sigmoid               | -                                            | -                       |
| softmax               | -                                            | -                       |

The average of a window leaves out what padding added. `slope` is the factor of values below 0.
`add` takes two inputs, all other ops one. Biases are optional. Strides, sizes and zero padding are
[y, x]; padding is "same" or "valid". The global pools reduce each channel to one value, `flatten`
orders by height, width, channel, and softmax runs over the last axis. Images are (n, height, width,
3); before `flatten` and the global pools, tensors are (n, channels, height, width) in OpenVINO.

In int8, the inputs of convolutions and dense layers are rounded to 256 values over the release's
ranges, and their kernels to 255 values per output channel, so that OpenVINO multiplies integers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import opset13 as ops

from models.errors import EngineError
from models.release.release import Node, Release

INPUT: Final = "input"
QUANTIZED: Final = frozenset({"conv2d", "depthwise_conv2d", "dense"})

MAX_EXTENT: Final = 1024
"""The largest stride or window accepted: no image is larger."""

_FIELDS: Final = {"op": str, "name": str, "inputs": list, "weights": dict, "attributes": dict}
_PADDINGS: Final = {"same": "same_upper", "valid": "valid"}


class _NodeError(Exception):
    """What is wrong with a node; `build_graph` adds the node's name."""


@dataclass(frozen=True)
class _Step:
    """A node with its inputs and weights; its methods raise `_NodeError` for an invalid part."""

    node: Node
    inputs: list[Any]
    weights: Mapping[str, NDArray[np.float32]]
    int8: bool

    @property
    def input(self) -> Any:
        return self.inputs[0]

    def shape(self, rank: int, meaning: str) -> list[int]:
        """The input's shape without the batch axis."""
        partial = self.input.get_partial_shape()
        if len(partial) != rank:
            raise _NodeError(f"its input has {len(partial)} axes, expected {rank} ({meaning})")
        return [partial[axis].get_length() for axis in range(1, rank)]

    def image_channels(self) -> int:
        """The number of channels of the input, which must be an image."""
        channels, _, _ = self.shape(4, "an image")
        return channels

    def weight(self, role: str, *expected: int | None) -> NDArray[np.float32]:
        """A weight of the expected shape, where None stands for any length."""
        if role not in self.weights:
            raise _NodeError(f"it has no weight {role!r}")

        weight = self.weights[role]
        fits = len(weight.shape) == len(expected) and all(
            length > 0 and wanted in (length, None)
            for length, wanted in zip(weight.shape, expected, strict=True)
        )
        if not fits:
            wanted_shape = ", ".join("any" if n is None else str(n) for n in expected)
            raise _NodeError(f"its {role} has shape {weight.shape}, expected ({wanted_shape})")
        return weight

    def kernel(self, values: NDArray[np.float32]) -> Any:
        """A kernel (out, ...); in int8, rounded to 255 values over each output's own range.

        The values are symmetric around zero.
        """
        if not self.int8:
            return values
        highest = np.abs(values).max(axis=tuple(range(1, values.ndim)), keepdims=True)
        highest[highest == 0] = 1
        return ops.fake_quantize(ops.constant(values), -highest, highest, -highest, highest, 255)

    def pair(self, key: str, lowest: int = 1) -> list[int]:
        value = self.node["attributes"].get(key)
        valid = (
            isinstance(value, list)
            and len(value) == 2
            and all(type(n) is int and lowest <= n <= MAX_EXTENT for n in value)
        )
        if not valid:
            raise _NodeError(
                f"its {key} is {value!r}, expected two integers from {lowest} to {MAX_EXTENT}"
            )
        return list(value)

    def padding(self) -> str:
        value = self.node["attributes"].get("padding")
        if not isinstance(value, str) or value not in _PADDINGS:
            raise _NodeError(f"its padding is {value!r}, expected one of {', '.join(_PADDINGS)}")
        return _PADDINGS[value]


def build_graph(release: Release, *, int8: bool = False) -> openvino.Model:
    """Builds the release's network with a dynamic batch size.

    Args:
        int8: round the inputs and kernels of convolutions and dense layers, so that OpenVINO runs
            them in int8.

    Raises:
        EngineError: the network is malformed; names the node and the reason.
    """
    images, outputs = _build_nodes(release, int8=int8)
    scores = next(reversed(outputs.values()))
    _check_scores(release, scores)
    return openvino.Model([ops.result(scores)], [images], release.name)


def build_probe(release: Release) -> tuple[list[str], openvino.Model]:
    """Builds a graph that returns the tensors that int8 would round.

    Returns:
        The names of the nodes whose outputs convolutions and dense layers take, and a graph of
        those outputs.

    Raises:
        EngineError: as `build_graph`.
    """
    build_graph(release)
    images, outputs = _build_nodes(release, int8=False)
    quantized_nodes = [node for node in release.network if node["op"] in QUANTIZED]
    rounded = {name for node in quantized_nodes for name in node["inputs"]}
    names = [name for name in outputs if name in rounded]

    results = [ops.result(outputs[name]) for name in names]
    return names, openvino.Model(results, [images], release.name)


def _build_nodes(release: Release, *, int8: bool) -> tuple[Any, dict[str, Any]]:
    """The graph's input, and each node's output by name."""
    size = release.preprocessing
    images = ops.parameter([-1, size.height, size.width, 3], np.float32, name=INPUT)
    outputs: dict[str, Any] = {INPUT: ops.transpose(images, [0, 3, 1, 2]).output(0)}
    rounded: dict[str, Any] | None = {} if int8 else None

    for index, node in enumerate(release.network):
        label = f"node {index}"
        try:
            _check_fields(node)
            label = f"node {node['name']!r} ({node['op']})"
            _check_identity(node, outputs)
            _check_references(node, outputs, release)
            step = _resolve(node, outputs, release, rounded)
            outputs[node["name"]] = _OPS[node["op"]](step).output(0)
        except (_NodeError, RuntimeError) as error:  # OpenVINO raises RuntimeError.
            raise _malformed(release, f"{label}: {error}") from error
    return images, outputs


def _malformed(release: Release, reason: str) -> EngineError:
    return EngineError(
        f"The network of {release.name} cannot run: {reason}. Export or fetch the model again."
    )


def _check_fields(node: Any) -> None:
    if not isinstance(node, dict):
        raise _NodeError(f"it is a {type(node).__name__}, expected a dict")
    for key, kind in _FIELDS.items():
        if not isinstance(node.get(key), kind):
            raise _NodeError(f"its {key} is {node.get(key)!r}, expected a {kind.__name__}")


def _check_identity(node: Node, outputs: Mapping[str, Any]) -> None:
    if node["name"] in outputs:
        raise _NodeError("an earlier node has the same name")
    if node["op"] not in _OPS:
        raise _NodeError(f"its op is unknown; known: {', '.join(_OPS)}")


def _check_references(node: Node, outputs: Mapping[str, Any], release: Release) -> None:
    """Checks that the node's inputs and weights exist."""
    inputs, weights = node["inputs"], list(node["weights"].values())
    if not all(isinstance(name, str) for name in [*inputs, *weights]):
        raise _NodeError("one of its inputs or weights is not named by a string")

    expected = 2 if node["op"] == "add" else 1
    if len(inputs) != expected:
        raise _NodeError(f"it has {len(inputs)} inputs, expected {expected}")

    for name in inputs:
        if name not in outputs:
            raise _NodeError(
                f"its input {name!r} is not an earlier node: "
                "the node is missing or the network has a cycle"
            )
    for name in weights:
        if name not in release.weights:
            raise _NodeError(f"its weight {name!r} is not in the file")


def _resolve(
    node: Node, outputs: Mapping[str, Any], release: Release, rounded: dict[str, Any] | None
) -> _Step:
    """The node with its inputs and weights.

    Args:
        rounded: inputs that were rounded for int8 already, by name, extended here; None = float
            arithmetic.
    """
    weights = {role: release.weights[name] for role, name in node["weights"].items()}
    if rounded is None or node["op"] not in QUANTIZED:
        return _Step(node, [outputs[name] for name in node["inputs"]], weights, int8=False)

    ranges = release.int8.ranges if release.int8 else {}
    for name in node["inputs"]:
        if name not in rounded:
            rounded[name] = _round(outputs[name], ranges.get(name))
    return _Step(node, [rounded[name] for name in node["inputs"]], weights, int8=True)


def _round(values: Any, ends: tuple[float, float] | None) -> Any:
    """Rounds values to the nearest of 256 steps over a range; zero is one of them."""
    if ends is None:
        raise _NodeError("its input has no int8 range")
    step = (ends[1] - ends[0]) / 255
    low = np.float32(round(ends[0] / step) * step)
    high = np.float32(low + 255 * step)
    return ops.fake_quantize(values, low, high, low, high, 256).output(0)


def _check_scores(release: Release, scores: Any) -> None:
    if not release.network or release.network[-1]["op"] != "softmax":
        raise _malformed(release, "its last node is not a softmax")
    shape = scores.get_partial_shape()
    labels = len(release.labels)
    if len(shape) != 2 or shape[1] != labels:
        raise _malformed(
            release, f"its output has shape {shape}, expected (n, {labels}): a score for each label"
        )


def _conv2d(step: _Step) -> Any:
    channels = step.image_channels()
    kernel = step.weight("kernel", None, None, channels, None)
    strides, padding = step.pair("strides"), step.padding()

    filters = step.kernel(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))
    output = ops.convolution(step.input, filters, strides, [0, 0], [0, 0], [1, 1], padding)
    return _add_bias(step, output, kernel.shape[3])


def _depthwise_conv2d(step: _Step) -> Any:
    channels = step.image_channels()
    kernel = step.weight("kernel", None, None, channels, 1)
    strides, padding = step.pair("strides"), step.padding()

    filters = step.kernel(np.ascontiguousarray(kernel.transpose(2, 3, 0, 1)[:, :, None]))
    output = ops.group_convolution(step.input, filters, strides, [0, 0], [0, 0], [1, 1], padding)
    return _add_bias(step, output, channels)


def _add_bias(step: _Step, output: Any, channels: int) -> Any:
    if "bias" not in step.weights:
        return output
    return ops.add(output, step.weight("bias", channels).reshape(1, -1, 1, 1))


def _zero_padding2d(step: _Step) -> Any:
    step.image_channels()
    before, after = step.pair("top_left", lowest=0), step.pair("bottom_right", lowest=0)
    return ops.pad(step.input, [0, 0, *before], [0, 0, *after], "constant", np.float32(0))


def _batch_norm(step: _Step) -> Any:
    channels = step.image_channels()
    gamma = step.weight("gamma", channels)
    beta = step.weight("beta", channels)
    mean = step.weight("mean", channels)
    variance = step.weight("variance", channels)
    if (variance < 0).any():
        raise _NodeError("its variance has values below 0")

    epsilon = step.node["attributes"].get("epsilon")
    if not (isinstance(epsilon, float) and 0 < epsilon < 1):
        raise _NodeError(f"its epsilon is {epsilon!r}, expected a float between 0 and 1")
    return ops.batch_norm_inference(step.input, gamma, beta, mean, variance, epsilon)


def _max_pool2d(step: _Step) -> Any:
    step.image_channels()
    strides, size, padding = step.pair("strides"), step.pair("size"), step.padding()
    return ops.max_pool(step.input, strides, [1, 1], [0, 0], [0, 0], size, "floor", padding)


def _avg_pool2d(step: _Step) -> Any:
    step.image_channels()
    strides, size, padding = step.pair("strides"), step.pair("size"), step.padding()
    return ops.avg_pool(step.input, strides, [0, 0], [0, 0], size, True, "floor", padding)


def _global_average_pool2d(step: _Step) -> Any:
    step.image_channels()
    return ops.reduce_mean(step.input, [2, 3], keep_dims=False)


def _global_max_pool2d(step: _Step) -> Any:
    step.image_channels()
    return ops.reduce_max(step.input, [2, 3], keep_dims=False)


def _flatten(step: _Step) -> Any:
    step.image_channels()
    return ops.reshape(ops.transpose(step.input, [0, 2, 3, 1]), [0, -1], special_zero=True)


def _dense(step: _Step) -> Any:
    (width,) = step.shape(2, "flatten it first")
    kernel = step.weight("kernel", width, None)
    output = ops.matmul(step.input, step.kernel(np.ascontiguousarray(kernel.T)), False, True)
    if "bias" not in step.weights:
        return output
    return ops.add(output, step.weight("bias", kernel.shape[1]))


def _add(step: _Step) -> Any:
    first, second = (tensor.get_partial_shape() for tensor in step.inputs)
    if first != second:
        raise _NodeError(f"its inputs have shapes {first} and {second}, expected equal shapes")
    return ops.add(*step.inputs)


def _relu(step: _Step) -> Any:
    return ops.relu(step.input)


def _relu6(step: _Step) -> Any:
    return ops.clamp(step.input, 0.0, 6.0)


def _leaky_relu(step: _Step) -> Any:
    slope = step.node["attributes"].get("slope")
    if not (isinstance(slope, float) and 0 <= slope <= 1):
        raise _NodeError(f"its slope is {slope!r}, expected a float from 0 to 1")
    return ops.prelu(step.input, np.array([slope], np.float32))


def _sigmoid(step: _Step) -> Any:
    return ops.sigmoid(step.input)


def _softmax(step: _Step) -> Any:
    step.shape(2, "flatten it first")
    return ops.softmax(step.input, 1)


_OPS: Final[dict[str, Callable[[_Step], Any]]] = {
    "conv2d": _conv2d,
    "depthwise_conv2d": _depthwise_conv2d,
    "zero_padding2d": _zero_padding2d,
    "batch_norm": _batch_norm,
    "max_pool2d": _max_pool2d,
    "avg_pool2d": _avg_pool2d,
    "global_average_pool2d": _global_average_pool2d,
    "global_max_pool2d": _global_max_pool2d,
    "flatten": _flatten,
    "dense": _dense,
    "add": _add,
    "relu": _relu,
    "relu6": _relu6,
    "leaky_relu": _leaky_relu,
    "sigmoid": _sigmoid,
    "softmax": _softmax,
}
