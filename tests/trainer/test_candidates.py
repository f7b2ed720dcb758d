"""The candidates against the reference's figures."""

from pathlib import Path

import keras
import pytest

from models.errors import DataError
from models.labels import EMOTIONS
from trainer.candidates import CANDIDATES, _cosine, load_pretrained, multiply_adds

# The reference's table, layer by layer.
MODEL3 = [
    "Conv2D 64 3x3 same relu",
    "BatchNormalization",
    "Conv2D 64 3x3 same relu",
    "BatchNormalization",
    "MaxPooling2D 2x2",
    "Dropout 0.3",
    "Conv2D 128 3x3 same relu L2 0.01",
    "BatchNormalization",
    "Conv2D 64 3x3 same relu L2 0.01",
    "BatchNormalization",
    "MaxPooling2D 2x2",
    "Dropout 0.4",
    "Conv2D 256 3x3 same relu L2 0.01",
    "BatchNormalization",
    "Conv2D 256 3x3 same relu L2 0.01",
    "BatchNormalization",
    "MaxPooling2D 2x2",
    "Dropout 0.5",
    "Conv2D 512 3x3 same relu L2 0.01",
    "BatchNormalization",
    "Conv2D 64 3x3 same relu L2 0.01",
    "BatchNormalization",
    "MaxPooling2D 2x2",
    "Dropout 0.3",
    "Flatten",
    "Dense 1024 relu",
    "Dropout 0.4",
    "Dense 256 relu",
    "Dense 28 softmax",
]


def describe(layer: keras.Layer) -> str:
    """A layer in the words of the reference's table."""
    config = layer.get_config()
    words = [type(layer).__name__]
    words += [str(config[key]) for key in ("filters", "units", "rate") if key in config]
    words += [
        "x".join(map(str, config[key])) for key in ("kernel_size", "pool_size") if key in config
    ]
    if "kernel_size" in config:
        words.append(config["padding"])
    if "activation" in config:
        words.append(config["activation"])
    penalty = config.get("kernel_regularizer")
    if penalty:
        words += [penalty["class_name"], str(penalty["config"]["l2"])]
    return " ".join(words)


@pytest.fixture(scope="module")
def model3() -> keras.Model:
    return CANDIDATES["model3"].build((48, 48, 3), len(EMOTIONS))


def test_model3_is_the_references_layer_by_layer(model3: keras.Model) -> None:
    assert [describe(layer) for layer in model3.layers] == MODEL3


def test_model3_has_the_references_trainable_parameters(model3: keras.Model) -> None:
    assert sum(int(weight.shape.num_elements()) for weight in model3.trainable_weights) == 3_262_556


def test_model3_flattens_576_values_and_gives_28(model3: keras.Model) -> None:
    flatten = next(layer for layer in model3.layers if isinstance(layer, keras.layers.Flatten))
    assert flatten.output.shape == (None, 576)
    assert model3.output_shape == (None, 28)


@pytest.mark.parametrize(
    ("name", "parameters", "optimizer", "rate", "epochs", "patience"),
    [
        ("model1", 334_162, keras.optimizers.Nadam, 1e-3, 25, 10),
        ("model2", 2_293_852, keras.optimizers.RMSprop, 1e-4, 25, 10),
        ("model3", 3_265_372, keras.optimizers.Adam, 1e-4, 25, 10),
        ("model4", 2_293_852, keras.optimizers.Adam, 0.02, 50, 20),
        ("model5", 3_790_940, keras.optimizers.Adam, 0.03, 10, 5),
    ],
)
def test_the_references_candidates_are_fitted_by_its_recipes(
    name: str,
    parameters: int,
    optimizer: type[keras.Optimizer],
    rate: float,
    epochs: int,
    patience: int,
) -> None:
    candidate = CANDIDATES[name]
    built = candidate.optimizer(100)
    assert type(built) is optimizer
    assert float(built.learning_rate) == pytest.approx(rate)
    assert (candidate.epochs, candidate.patience, candidate.batch_size) == (epochs, patience, 32)
    assert candidate.build((48, 48, 3), len(EMOTIONS)).count_params() == parameters


def test_mobilenetv2_is_frozen_in_model2_alone() -> None:
    trainable = {
        name: sum(
            weight.shape.num_elements()
            for weight in CANDIDATES[name].build((48, 48, 3), 28).trainable_weights
        )
        for name in ("model2", "model4", "mobilenetv2")
    }
    assert trainable == {"model2": 35_868, "model4": 2_259_740, "mobilenetv2": 2_259_740}


def test_model4s_last_layer_is_the_references() -> None:
    config = CANDIDATES["model4"].build((48, 48, 3), 28).layers[-1].get_config()
    assert config["kernel_initializer"]["class_name"] == "HeNormal"
    assert config["kernel_regularizer"]["config"]["l2"] == pytest.approx(0.01)


def test_multiply_adds_are_those_of_the_references_table(model3: keras.Model) -> None:
    assert multiply_adds(model3) == pytest.approx(334e6, rel=1e-3)


def test_cuemill1_costs_no_more_than_model3(model3: keras.Model) -> None:
    cuemill1 = CANDIDATES["cuemill1"].build((48, 48, 3), 28)
    assert multiply_adds(cuemill1) == 186_022_912 < multiply_adds(model3)
    assert cuemill1.count_params() == 2_695_420 < model3.count_params()


FETCHED = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
"""Keras' name for the file of ImageNet's weights, in the folder `models` of its cache."""


@pytest.mark.parametrize("weights", [FETCHED, "mobilenetv2.weights.h5", "imagenet"])
def test_pretrained_layers_take_the_weights_of_a_given_or_downloaded_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: str
) -> None:
    """In Keras' older format, as the download is, and in its newer one."""
    source = keras.applications.MobileNetV2(
        input_shape=(224, 224, 3), include_top=False, weights=None
    )
    (tmp_path / "models").mkdir()
    if weights.endswith(".weights.h5"):
        source.save_weights(tmp_path / "models" / weights)
    else:
        source.save(tmp_path / "models" / FETCHED)
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path))
    model = CANDIDATES["model2"].build((48, 48, 3), 28)
    load_pretrained(model, weights if weights == "imagenet" else str(tmp_path / "models" / weights))
    for name in ("Conv1", "block_3_depthwise", "Conv_1_bn"):
        pairs = zip(
            model.get_layer(name).get_weights(), source.get_layer(name).get_weights(), strict=True
        )
        assert all((one == other).all() for one, other in pairs)


@pytest.mark.parametrize("content", [None, b"no weights"])
def test_unavailable_weights_are_named_with_a_remedy(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "absent.weights.h5"
    if content:
        file.write_bytes(content)
    model = CANDIDATES["model2"].build((48, 48, 3), 28)
    with pytest.raises(DataError, match=r"Cannot load .*absent\.weights\.h5\): .*--weights none"):
        load_pretrained(model, str(file))


@pytest.mark.parametrize("name", CANDIDATES)
def test_a_candidate_is_registered_by_its_own_name(name: str) -> None:
    assert CANDIDATES[name].name == name
    network = name.removesuffix("_tune").removesuffix("_robust")
    assert CANDIDATES[name].build((48, 48, 3), 28).name == network


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_a_candidates_scores_are_float32_in_any_precision(policy: str) -> None:
    keras.config.set_dtype_policy(policy)
    try:
        scores = CANDIDATES["model3"].build((16, 16, 3), 28)(keras.ops.zeros((1, 16, 16, 3)))
    finally:
        keras.config.set_dtype_policy("float32")
    assert keras.backend.standardize_dtype(scores.dtype) == "float32"


def test_the_rate_rises_for_a_twentieth_of_the_steps_then_falls_as_a_cosine() -> None:
    rate = _cosine(epochs=10, steps=20, peak=0.1)
    assert [round(float(rate(step)), 4) for step in (0, 5, 10, 105, 200)] == [
        0.001,
        0.0505,
        0.1,
        0.05,
        0.0,
    ]
