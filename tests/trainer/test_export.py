"""Exporting: the nodes, the weights and Keras' config; other layers are refused by name."""

import json
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from models.errors import EngineError
from models.labels import EMOTIONS
from models.pictures.preprocessing import Preprocessing
from models.release.files import load_release, save_release
from models.release.release import Release
from tests.networks import randomise
from trainer.candidates import model3
from trainer.export import export, to_nodes


def exported(model: keras.Model) -> Release:
    return export(
        model, "Model3", Preprocessing(), ("anger",), {"val_accuracy": 0.5}, {"a": 1}, {"b": 2}
    )


def sequence(*steps: keras.Layer) -> keras.Model:
    """On 8x8 images."""
    return keras.Sequential([keras.Input((8, 8, 3)), *steps])


@pytest.fixture(scope="module")
def network() -> keras.Model:
    keras.utils.clear_session()
    return randomise(model3((48, 48, 3), len(EMOTIONS)))


@pytest.fixture(scope="module")
def release(network: keras.Model) -> Release:
    return exported(network)


def test_each_layer_and_activation_becomes_a_node_and_dropout_vanishes(release: Release) -> None:
    block = ["conv2d", "relu", "batch_norm", "conv2d", "relu", "batch_norm", "max_pool2d"]
    head = ["flatten", "dense", "relu", "dense", "relu", "dense", "softmax"]
    assert [node["op"] for node in release.network] == 4 * block + head


def test_nodes_form_a_chain_from_the_input(release: Release) -> None:
    names = [node["name"] for node in release.network]
    assert [node["inputs"] for node in release.network] == [
        [name] for name in ["input", *names[:-1]]
    ]
    assert len(set(names)) == len(names)


def test_a_node_describes_its_layer_in_full(release: Release) -> None:
    assert release.network[:3] == [
        {
            "op": "conv2d",
            "name": "conv2d",
            "inputs": ["input"],
            "weights": {"kernel": "conv2d/kernel", "bias": "conv2d/bias"},
            "attributes": {"strides": [1, 1], "padding": "same"},
        },
        {
            "op": "relu",
            "name": "conv2d/relu",
            "inputs": ["conv2d"],
            "weights": {},
            "attributes": {},
        },
        {
            "op": "batch_norm",
            "name": "batch_normalization",
            "inputs": ["conv2d/relu"],
            "weights": {
                "gamma": "batch_normalization/gamma",
                "beta": "batch_normalization/beta",
                "mean": "batch_normalization/moving_mean",
                "variance": "batch_normalization/moving_variance",
            },
            "attributes": {"epsilon": 0.001},
        },
    ]
    assert release.network[6]["attributes"] == {
        "size": [2, 2],
        "strides": [2, 2],
        "padding": "valid",
    }


def test_every_weight_is_there_once_in_float32(network: keras.Model, release: Release) -> None:
    named = [name for node in release.network for name in node["weights"].values()]
    assert sorted(named) == sorted(release.weights)
    assert len(set(named)) == len(named)
    assert (
        sum(array.size for array in release.weights.values()) == network.count_params() == 3_265_372
    )
    assert {array.dtype for array in release.weights.values()} == {np.dtype(np.float32)}
    assert (
        release.weights["conv2d_1/kernel"] == network.get_layer("conv2d_1").get_weights()[0]
    ).all()


def test_a_pickle_of_model3_stays_under_20_mb(release: Release, tmp_path: Path) -> None:
    save_release(release, tmp_path / "model.pkl")
    assert (tmp_path / "model.pkl").stat().st_size < 20_000_000


def test_the_networks_description_is_exported_too(release: Release) -> None:
    assert (release.name, release.labels, release.trained_labels) == (
        "Model3",
        EMOTIONS,
        ("anger",),
    )
    assert (release.metrics, release.data, release.training) == (
        {"val_accuracy": 0.5},
        {"a": 1},
        {"b": 2},
    )
    assert set(release.versions) == {"python", "keras", "tensorflow", "numpy"}


def test_keras_config_is_kept_without_its_compilation(network: keras.Model) -> None:
    compiled = sequence(layers.Flatten(), layers.Dense(28, activation="softmax"))
    compiled.compile("adam", "sparse_categorical_crossentropy")
    assert "compile_config" not in json.loads(exported(compiled).keras_config)
    assert json.loads(exported(network).keras_config)["class_name"] == "Sequential"


def test_a_saved_release_is_loaded_unchanged(release: Release, tmp_path: Path) -> None:
    save_release(release, tmp_path / "model.pkl")
    loaded = load_release(tmp_path / "model.pkl")
    assert (loaded.network, loaded.keras_config) == (release.network, release.keras_config)
    assert all((loaded.weights[name] == array).all() for name, array in release.weights.items())


def test_a_linear_activation_becomes_no_node() -> None:
    model = sequence(layers.Flatten(), layers.Dense(4), layers.Activation("softmax"))
    assert [node["op"] for node in to_nodes(model)] == ["flatten", "dense", "softmax"]


def test_a_layer_without_bias_names_none() -> None:
    (node,) = to_nodes(sequence(layers.Conv2D(2, 3, use_bias=False, name="edges")))
    assert node["weights"] == {"kernel": "edges/kernel"}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: layers.Conv2DTranspose(2, 3, name="odd"),
            "Layer odd is a Conv2DTranspose, which cannot be exported. Supported: InputLayer, ",
        ),
        (
            lambda: layers.Dense(2, activation="gelu", name="odd"),
            "Layer odd has activation 'gelu'.*: relu, relu6, sigmoid, softmax",
        ),
        (
            lambda: layers.Conv2D(2, 3, dilation_rate=2, name="odd"),
            r"odd has dilation_rate \(2, 2\); only \(1, 1\)",
        ),
        (
            lambda: layers.Conv2D(3, 3, groups=3, name="odd"),
            "odd has groups 3; only 1 can be exported",
        ),
        (
            lambda: layers.BatchNormalization(scale=False, name="odd"),
            "odd has scale False; only True",
        ),
        (
            lambda: layers.DepthwiseConv2D(3, depth_multiplier=2, name="odd"),
            "odd has depth_multiplier 2; only 1",
        ),
        (lambda: layers.ReLU(3.0, name="odd"), "odd has max_value 3.0; only None and 6"),
        (
            lambda: layers.ReLU(negative_slope=0.1, name="odd"),
            "odd has negative_slope 0.1; only 0.0",
        ),
        (lambda: layers.BatchNormalization(axis=1, name="odd"), "odd has axis 1; only -1"),
    ],
)
def test_a_layer_that_no_engine_runs_is_refused_by_name(
    make: Callable[[], keras.Layer], said: str
) -> None:
    with pytest.raises(EngineError, match=said):
        to_nodes(sequence(make()))


def test_a_branch_names_both_its_inputs_and_dropout_passes_on_its_own() -> None:
    images = keras.Input((8, 8, 3))
    x = layers.Conv2D(3, 3, padding="same", activation="relu", name="edges")(images)
    model = keras.Model(images, layers.Add(name="sum")([images, layers.Dropout(0.1)(x)]))
    edges, relu, total = to_nodes(model)
    assert edges["inputs"] == ["input"]
    assert total["inputs"] == ["input", relu["name"]]


def test_a_layer_used_twice_is_refused() -> None:
    images = keras.Input((8, 8, 3))
    shared = layers.Conv2D(3, 3, padding="same", name="shared")
    with pytest.raises(EngineError, match=r"Layer shared is used 2 times\. Only layers used once"):
        to_nodes(keras.Model(images, shared(shared(images))))


def test_a_sum_of_three_is_refused() -> None:
    images = keras.Input((8, 8, 3))
    with pytest.raises(EngineError, match="Layer sum adds 3 inputs; only 2"):
        to_nodes(keras.Model(images, layers.Add(name="sum")([images, images, images])))


def test_a_network_that_ends_without_a_softmax_is_refused() -> None:
    with pytest.raises(EngineError, match="does not end in a softmax"):
        exported(sequence(layers.Flatten(), layers.Dense(28)))
