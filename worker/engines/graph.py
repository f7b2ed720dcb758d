"""From a release's network, a list of plain nodes, to an OpenVINO graph.

The nodes come from a file, so everything about them is checked. Each is a dict of `op`, `name` (unique), `inputs`
(names of earlier nodes; the images are called `input`, (n, height, width, 3)), `weights` (the op's word for each ->
the weight's name in the release) and `attributes`. The last node's output, (n, labels), is the scores.

| op                    | weights                                       | attributes                                  |
|-----------------------|-----------------------------------------------|---------------------------------------------|
| conv2d                | kernel (height, width, in, out), bias (out,)  | strides [y, x], padding "same" or "valid"   |
| depthwise_conv2d      | kernel (height, width, in, 1), bias (in,)     | strides [y, x], padding                     |
| zero_padding2d        | -                                             | top_left [y, x], bottom_right [y, x]        |
| batch_norm            | gamma, beta, mean, variance, each (channels,) | epsilon                                     |
| max_pool2d            | -                                             | size [y, x], strides [y, x], padding        |
| global_average_pool2d | -                                             | -  (each channel's mean)                    |
| global_max_pool2d     | -                                             | -  (each channel's highest)                 |
| flatten               | -                                             | -  (height, then width, then channel)       |
| dense                 | kernel (in, out), bias (out,)                 | -                                           |
| add                   | -                                             | -  (of two inputs; the others have one)     |
| relu, relu6           | -                                             | -                                           |
| softmax               | -                                             | -  (over the last axis)                     |

In int8, what convolutions and dense layers take is rounded to 256 values over the release's range for it, and their
kernels to 255 by output channel; OpenVINO then multiplies those as integers. A bias may be left out. Before `flatten`
and the global pools, OpenVINO sees (n, channels, height, width).
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
MAX_EXTENT: Final = 1024  # The largest stride or window taken for one: no image is larger.
_FIELDS: Final = {"op": str, "name": str, "inputs": list, "weights": dict, "attributes": dict}
_PADDINGS: Final = {"same": "same_upper", "valid": "valid"}


class _NodeError(Exception):
    """What is wrong with a node; `build_graph` adds which one it is."""


@dataclass(frozen=True)
class _Step:
    """A node with its names looked up; its methods raise `_NodeError` where a part of it is wrong."""

    node: Node
    inputs: list[Any]
    weights: Mapping[str, NDArray[np.float32]]
    int8: bool

    @property
    def input(self) -> Any:
        return self.inputs[0]

    def shape(self, rank: int, expected: str) -> list[int]:
        """The input's shape after the batch axis."""
        partial = self.input.get_partial_shape()
        if len(partial) != rank:
            raise _NodeError(f"its input has {len(partial)} axes, expected {expected}")
        return [partial[axis].get_length() for axis in range(1, rank)]

    def weight(self, role: str, *shape: int | None) -> NDArray[np.float32]:
        """A weight of the given shape; None stands for any length."""
        if role not in self.weights:
            raise _NodeError(f"it has no weight {role!r}")
        found = self.weights[role]
        if len(found.shape) != len(shape) or any(
            n == 0 or want not in (n, None) for n, want in zip(found.shape, shape, strict=True)
        ):
            wanted = ", ".join("any" if want is None else str(want) for want in shape)
            raise _NodeError(f"its {role} has shape {found.shape}, expected ({wanted})")
        return found

    def kernel(self, values: NDArray[np.float32]) -> Any:
        """A kernel (out, ...), in int8 rounded to 255 values on both sides of zero, over each output's own range."""
        if not self.int8:
            return values
        highest = np.abs(values).max(axis=tuple(range(1, values.ndim)), keepdims=True)
        highest[highest == 0] = 1
        return ops.fake_quantize(ops.constant(values), -highest, highest, -highest, highest, 255)

    def pair(self, key: str, least: int = 1) -> list[int]:
        value = self.node["attributes"].get(key)
        if not (
            isinstance(value, list)
            and len(value) == 2
            and all(type(n) is int and least <= n <= MAX_EXTENT for n in value)
        ):
            raise _NodeError(
                f"its {key} is {value!r}, expected two numbers from {least} to {MAX_EXTENT}"
            )
        return value

    def padding(self) -> str:
        value = self.node["attributes"].get("padding")
        if not isinstance(value, str) or value not in _PADDINGS:
            raise _NodeError(f"its padding is {value!r}, expected one of {', '.join(_PADDINGS)}")
        return _PADDINGS[value]


def build_graph(release: Release, *, int8: bool = False) -> openvino.Model:
    """The release's network with a free batch size.

    Args:
        int8: round what convolutions and dense layers multiply, so that OpenVINO does it in int8.

    Raises:
        EngineError: the network is malformed; names the node and what is wrong with it.
    """
    images, made = _make_nodes(release, int8=int8)
    scores = next(reversed(made.values()))
    _check_scores(release, scores)
    return openvino.Model([ops.result(scores)], [images], release.name)


def build_probe(release: Release) -> tuple[list[str], openvino.Model]:
    """What int8 would round: the nodes that convolutions and dense layers take, by name, and a graph that gives those.

    Raises:
        EngineError: as `build_graph`.
    """
    build_graph(release)
    images, made = _make_nodes(release, int8=False)
    taken = {name for node in release.network if node["op"] in QUANTIZED for name in node["inputs"]}
    names = [name for name in made if name in taken]
    return names, openvino.Model([ops.result(made[name]) for name in names], [images], release.name)


def _make_nodes(release: Release, *, int8: bool) -> tuple[Any, dict[str, Any]]:
    """The graph's input, and what each node gives."""
    size = release.preprocessing
    images = ops.parameter([-1, size.height, size.width, 3], np.float32, name=INPUT)
    made: dict[str, Any] = {INPUT: ops.transpose(images, [0, 3, 1, 2]).output(0)}
    rounded: dict[str, Any] | None = {} if int8 else None
    for index, node in enumerate(release.network):
        label = f"node {index}"
        try:
            _check_fields(node)
            label = f"node {node['name']!r} ({node['op']})"
            made[_new_name(node, made)] = _OPS[_op(node)](
                _look_up(node, made, release, rounded)
            ).output(0)
        except (_NodeError, RuntimeError) as error:  # OpenVINO's own complaints are RuntimeErrors.
            raise _malformed(release, f"{label}: {error}") from error
    return images, made


def _malformed(release: Release, reason: str) -> EngineError:
    return EngineError(
        f"The network of {release.name} can't be run: {reason}. Export or fetch the model again."
    )


def _check_fields(node: Any) -> None:
    if not isinstance(node, dict):
        raise _NodeError(f"it is a {type(node).__name__}, expected a dict")
    for key, kind in _FIELDS.items():
        if not isinstance(node.get(key), kind):
            raise _NodeError(f"its {key} is {node.get(key)!r}, expected a {kind.__name__}")


def _new_name(node: Node, made: Mapping[str, Any]) -> str:
    if node["name"] in made:
        raise _NodeError("an earlier node has the same name")
    return str(node["name"])


def _op(node: Node) -> str:
    if node["op"] not in _OPS:
        raise _NodeError(f"its op is unknown; known: {', '.join(_OPS)}")
    return str(node["op"])


def _look_up(
    node: Node, made: Mapping[str, Any], release: Release, rounded: dict[str, Any] | None
) -> _Step:
    """A node with what it takes; `rounded` holds those inputs that were rounded already, None if none are to be."""
    if not all(isinstance(name, str) for name in [*node["inputs"], *node["weights"].values()]):
        raise _NodeError("one of its inputs or weights is not named by a string")
    wanted = 2 if node["op"] == "add" else 1
    if len(node["inputs"]) != wanted:
        raise _NodeError(f"it has {len(node['inputs'])} inputs, expected {wanted}")
    for name in node["inputs"]:
        if name not in made:
            raise _NodeError(
                f"its input {name!r} is no earlier node, so it is missing or the network runs in a circle"
            )
    for name in node["weights"].values():
        if name not in release.weights:
            raise _NodeError(f"its weight {name!r} is not in the file")
    weights = {role: release.weights[name] for role, name in node["weights"].items()}
    if rounded is None or node["op"] not in QUANTIZED:
        return _Step(node, [made[name] for name in node["inputs"]], weights, int8=False)
    for name in node["inputs"]:
        if name not in rounded:
            rounded[name] = _round(
                made[name], release.int8.ranges.get(name) if release.int8 else None
            )
    return _Step(node, [rounded[name] for name in node["inputs"]], weights, int8=True)


def _round(values: Any, ends: tuple[float, float] | None) -> Any:
    """Values to the nearest of 256 from one end of a range to the other, zero among them."""
    if ends is None:
        raise _NodeError("its input has no range, so it can't be run in int8")
    step = (ends[1] - ends[0]) / 255
    low = np.float32(round(ends[0] / step) * step)
    high = np.float32(low + 255 * step)
    return ops.fake_quantize(values, low, high, low, high, 256).output(0)


def _check_scores(release: Release, scores: Any) -> None:
    if not release.network or release.network[-1]["op"] != "softmax":
        raise _malformed(release, "its last node is no softmax")
    shape = scores.get_partial_shape()
    if len(shape) != 2 or shape[1] != len(release.labels):
        raise _malformed(
            release,
            f"it ends in {shape}, expected (n, {len(release.labels)}), a score for each label",
        )


def _conv2d(step: _Step) -> Any:
    channels, _, _ = step.shape(4, "an image's 4")
    kernel = step.weight("kernel", None, None, channels, None)
    strides, padding = step.pair("strides"), step.padding()
    filters = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
    return _add_bias(
        step,
        ops.convolution(step.input, step.kernel(filters), strides, [0, 0], [0, 0], [1, 1], padding),
        kernel.shape[3],
    )


def _depthwise_conv2d(step: _Step) -> Any:
    channels, _, _ = step.shape(4, "an image's 4")
    kernel = step.weight("kernel", None, None, channels, 1)
    strides, padding = step.pair("strides"), step.padding()
    filters = np.ascontiguousarray(kernel.transpose(2, 3, 0, 1)[:, :, None])
    made = ops.group_convolution(
        step.input, step.kernel(filters), strides, [0, 0], [0, 0], [1, 1], padding
    )
    return _add_bias(step, made, channels)


def _add_bias(step: _Step, made: Any, channels: int) -> Any:
    if "bias" not in step.weights:
        return made
    return ops.add(made, step.weight("bias", channels).reshape(1, -1, 1, 1))


def _zero_padding2d(step: _Step) -> Any:
    step.shape(4, "an image's 4")
    before, after = step.pair("top_left", least=0), step.pair("bottom_right", least=0)
    return ops.pad(step.input, [0, 0, *before], [0, 0, *after], "constant", np.float32(0))


def _batch_norm(step: _Step) -> Any:
    channels, *_ = step.shape(4, "an image's 4")
    gamma, beta, mean, variance = (
        step.weight(role, channels) for role in ("gamma", "beta", "mean", "variance")
    )
    epsilon = step.node["attributes"].get("epsilon")
    if not (isinstance(epsilon, float) and 0 < epsilon < 1) or (variance < 0).any():
        raise _NodeError(
            f"its epsilon {epsilon!r} is not between 0 and 1, or a variance is below 0"
        )
    return ops.batch_norm_inference(step.input, gamma, beta, mean, variance, epsilon)


def _max_pool2d(step: _Step) -> Any:
    step.shape(4, "an image's 4")
    return ops.max_pool(
        step.input,
        step.pair("strides"),
        [1, 1],
        [0, 0],
        [0, 0],
        step.pair("size"),
        "floor",
        step.padding(),
    )


def _global_average_pool2d(step: _Step) -> Any:
    step.shape(4, "an image's 4")
    return ops.reduce_mean(step.input, [2, 3], keep_dims=False)


def _global_max_pool2d(step: _Step) -> Any:
    step.shape(4, "an image's 4")
    return ops.reduce_max(step.input, [2, 3], keep_dims=False)


def _flatten(step: _Step) -> Any:
    step.shape(4, "an image's 4")
    return ops.reshape(ops.transpose(step.input, [0, 2, 3, 1]), [0, -1], special_zero=True)


def _dense(step: _Step) -> Any:
    (width,) = step.shape(2, "2: flatten it first")
    kernel = step.weight("kernel", width, None)
    made = ops.matmul(step.input, step.kernel(np.ascontiguousarray(kernel.T)), False, True)
    return ops.add(made, step.weight("bias", kernel.shape[1])) if "bias" in step.weights else made


def _add(step: _Step) -> Any:
    first, second = (made.get_partial_shape() for made in step.inputs)
    if first != second:
        raise _NodeError(f"its inputs have the shapes {first} and {second}, expected the same")
    return ops.add(*step.inputs)


def _relu(step: _Step) -> Any:
    return ops.relu(step.input)


def _relu6(step: _Step) -> Any:
    return ops.clamp(step.input, 0.0, 6.0)


def _softmax(step: _Step) -> Any:
    step.shape(2, "2: flatten it first")
    return ops.softmax(step.input, 1)


_OPS: Final[dict[str, Callable[[_Step], Any]]] = {
    "conv2d": _conv2d,
    "depthwise_conv2d": _depthwise_conv2d,
    "zero_padding2d": _zero_padding2d,
    "batch_norm": _batch_norm,
    "max_pool2d": _max_pool2d,
    "global_average_pool2d": _global_average_pool2d,
    "global_max_pool2d": _global_max_pool2d,
    "flatten": _flatten,
    "dense": _dense,
    "add": _add,
    "relu": _relu,
    "relu6": _relu6,
    "softmax": _softmax,
}
