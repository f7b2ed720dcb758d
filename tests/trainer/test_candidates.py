"""The candidates against the reference's figures."""

import keras
import pytest

from models.labels import EMOTIONS
from trainer.candidates import CANDIDATES

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
    words += ["x".join(map(str, config[key])) for key in ("kernel_size", "pool_size") if key in config]
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


def test_model3_has_the_references_parameters(model3: keras.Model) -> None:
    assert model3.count_params() == 3_265_372
    assert sum(int(weight.shape.num_elements()) for weight in model3.trainable_weights) == 3_262_556


def test_model3_flattens_576_values_and_gives_28(model3: keras.Model) -> None:
    flatten = next(layer for layer in model3.layers if isinstance(layer, keras.layers.Flatten))
    assert flatten.output.shape == (None, 576)
    assert model3.output_shape == (None, 28)


def test_model3_is_fitted_by_the_references_recipe() -> None:
    candidate = CANDIDATES["model3"]
    optimizer = candidate.optimizer()
    assert isinstance(optimizer, keras.optimizers.Adam)
    assert float(optimizer.learning_rate) == pytest.approx(1e-4)
    assert (candidate.epochs, candidate.patience, candidate.batch_size) == (25, 10, 32)


@pytest.mark.parametrize("name", CANDIDATES)
def test_a_candidate_is_registered_by_its_own_name(name: str) -> None:
    assert CANDIDATES[name].name == name
    assert CANDIDATES[name].build((48, 48, 3), 28).name == name


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_a_candidates_scores_are_float32_in_any_precision(policy: str) -> None:
    keras.config.set_dtype_policy(policy)
    try:
        scores = CANDIDATES["model3"].build((16, 16, 3), 28)(keras.ops.zeros((1, 16, 16, 3)))
    finally:
        keras.config.set_dtype_policy("float32")
    assert keras.backend.standardize_dtype(scores.dtype) == "float32"
