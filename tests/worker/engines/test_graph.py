"""The graph: closed to malformed networks, with an error that names the node."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import EngineError
from models.release.release import Release
from tests.builders import node, tiny_network, tiny_release
from worker.engines.graph import build_graph
from worker.engines.openvino import OpenVinoEngine


def changed(change: Callable[[list[Any]], object]) -> Release:
    network = copy.deepcopy(tiny_network())
    change(network)
    return replace(tiny_release(), network=network)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda net: net.clear(), "its last node is not a softmax"),
        (lambda net: net.pop(), "its last node is not a softmax"),
        (lambda net: net.__setitem__(1, "relu"), "node 1: it is a str, expected a dict"),
        (lambda net: net[1].pop("op"), "node 1: its op is None, expected a str"),
        (lambda net: net[1].update(name=7), "node 1: its name is 7, expected a str"),
        (
            lambda net: net[1].update(op="gelu"),
            r"node 'relu' \(gelu\): its op is unknown; known: conv2d, ",
        ),
        (
            lambda net: net[1].update(name="conv2d"),
            r"node 'conv2d' \(relu\): an earlier node has the same name",
        ),
        (
            lambda net: net[1].update(name="input"),
            r"node 'input' \(relu\): an earlier node has the same name",
        ),
        (lambda net: net[1].update(inputs=[]), "node 'relu' .*: it has 0 inputs, expected 1"),
        (
            lambda net: net[1].update(inputs=[["conv2d"]]),
            "node 'relu' .*: one of its inputs .* string",
        ),
        (
            lambda net: net[1].update(inputs=["elsewhere"]),
            "node 'relu' .*'elsewhere' is not an earlier node",
        ),
        (
            lambda net: net[1].update(inputs=["softmax"]),
            "node 'relu' .*'softmax' .* the network has a cycle",
        ),
        (
            lambda net: net[1].update(inputs=["relu"]),
            "node 'relu' .*'relu' .* the network has a cycle",
        ),
        (
            lambda net: net[0]["weights"].pop("kernel"),
            r"node 'conv2d' .*: it has no weight 'kernel'",
        ),
        (
            lambda net: net[0]["weights"].update(kernel="lost"),
            "node 'conv2d' .*: its weight 'lost' is not in the file",
        ),
        (
            lambda net: net[0]["weights"].update(kernel="dense/kernel"),
            r"node 'conv2d' .*: its kernel has shape \(288, 28\), expected \(any, any, 3, any\)",
        ),
        (
            lambda net: net[0]["weights"].update(bias="dense/bias"),
            r"its bias has shape \(28,\), expected \(8\)",
        ),
        (
            lambda net: net[0]["attributes"].update(strides=[0, 1]),
            r"its strides is \[0, 1\], expected two integers",
        ),
        (
            lambda net: net[0]["attributes"].update(strides=2),
            "its strides is 2, expected two integers",
        ),
        (
            lambda net: net[0]["attributes"].update(padding="most"),
            "its padding is 'most', expected one of same, valid",
        ),
        (
            lambda net: net[0]["attributes"].update(padding=["same"]),
            r"its padding is \['same'\], expected",
        ),
        (
            lambda net: net[2]["attributes"].update(epsilon=None),
            "its epsilon is None, expected a float between 0 and 1",
        ),
        (
            lambda net: net[2]["weights"].update(variance="dense/bias"),
            r"variance has shape \(28,\), expected \(8\)",
        ),
        (
            lambda net: net[3]["attributes"].update(size=[99, 99]),
            r"node 'max_pool2d' \(max_pool2d\): ",
        ),
        (
            lambda net: net[5].update(inputs=["max_pool2d"]),
            "node 'dense' .*: its input has 4 axes, expected 2 \\(flatten it first\\)",
        ),
        (
            lambda net: net[4].update(inputs=["input"]),
            r"its kernel has shape \(288, 28\), expected \(6912, any\)",
        ),
        (
            lambda net: net[6].update(op="global_max_pool2d"),
            "its input has 2 axes, expected 4 \\(an image\\)",
        ),
        (
            lambda net: net[6].update(op="global_average_pool2d"),
            "its input has 2 axes, expected 4 \\(an image\\)",
        ),
        (
            lambda net: net[6].update(inputs=["flatten"]),
            r"its output has shape \[\?,288\], expected \(n, 28\)",
        ),
    ],
)
def test_a_malformed_network_is_refused_with_the_node_and_the_reason(
    change: Callable[[list[Any]], object], said: str
) -> None:
    with pytest.raises(EngineError, match=f"The network of tiny cannot run: .*{said}"):
        OpenVinoEngine(changed(change), "f32")


@pytest.mark.parametrize(
    ("op", "change", "said"),
    [
        ("add", lambda n: n["inputs"].pop(), "it has 1 inputs, expected 2"),
        (
            "add",
            lambda n: n["inputs"].__setitem__(0, "input"),
            "its inputs have shapes .*, expected equal shapes",
        ),
        ("relu6", lambda n: n["inputs"].append("input"), "it has 2 inputs, expected 1"),
        (
            "zero_padding2d",
            lambda n: n["attributes"].update(top_left=[-1, 0]),
            "its top_left is .* from 0 to 1024",
        ),
        (
            "depthwise_conv2d",
            lambda n: n["weights"].update(kernel="last/bias"),
            r"expected \(any, any, 8, 1\)",
        ),
    ],
)
def test_a_malformed_branch_is_refused(
    branches: Release, op: str, change: Callable[[Any], object], said: str
) -> None:
    network = copy.deepcopy(branches.network)
    change(next(n for n in network if n["op"] == op))
    with pytest.raises(EngineError, match=f"The network of random cannot run: .*{said}"):
        OpenVinoEngine(replace(branches, network=network), "f32")


@pytest.mark.parametrize("slope", [None, 1, -0.1, float("nan"), [0.1]])
def test_a_slope_that_is_no_share_is_refused(variety: Release, slope: Any) -> None:
    network = copy.deepcopy(variety.network)
    next(n for n in network if n["op"] == "leaky_relu")["attributes"]["slope"] = slope
    with pytest.raises(EngineError, match=r"its slope is .*, expected a float from 0 to 1"):
        OpenVinoEngine(replace(variety, network=network), "f32")


def test_a_variance_below_zero_is_refused() -> None:
    release = tiny_release()
    weights = {**release.weights, "batch_norm/variance": -np.ones(8, np.float32)}
    with pytest.raises(EngineError, match=r"node 'batch_norm' .* its variance has values below 0"):
        OpenVinoEngine(replace(release, weights=weights), "f32")


def test_a_network_of_other_labels_is_refused() -> None:
    with pytest.raises(
        EngineError,
        match=r"its output has shape \[\?,28\], expected \(n, 2\): a score for each label",
    ):
        OpenVinoEngine(replace(tiny_release(), labels=("anger", "neutral")), "f32")


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 2**40),
    st.floats(),
    st.sampled_from(["input", "softmax", "dense/kernel", "same", "", "conv2d"]),
    st.lists(st.integers(-1, 60), max_size=3),
    st.dictionaries(st.sampled_from(["kernel", "size"]), st.integers(0, 3), max_size=2),
)


@given(
    index=st.integers(0, 6),
    field=st.sampled_from(
        ["op", "name", "inputs", "weights", "attributes", "strides", "size", "padding", "epsilon"]
    ),
    junk=JUNK,
)
@settings(max_examples=300)
def test_whatever_a_node_contains_the_network_runs_or_is_refused(
    index: int, field: str, junk: Any
) -> None:
    def change(network: list[Any]) -> None:
        part = network[index] if field in network[index] else network[index]["attributes"]
        part[field] = junk

    try:
        build_graph(changed(change))
    except EngineError as error:
        assert "The network of tiny cannot run: " in str(error)  # noqa: PT017 - it may also run


def test_a_node_of_every_op_is_in_the_networks_of_these_tests(
    branches: Release, variety: Release
) -> None:
    steps = [*tiny_network(), *branches.network, *variety.network]
    assert {step["op"] for step in steps} == set(_ops())


def _ops() -> list[str]:
    """The ops the graph knows, as its own error names them."""
    with pytest.raises(EngineError) as caught:
        build_graph(replace(tiny_release(), network=[node("none", "input")]))
    return str(caught.value).split("known: ")[1].split(". Export")[0].split(", ")
