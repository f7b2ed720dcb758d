"""Genuine pickles: the imported network gives the scores that the original gave."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from models.errors import (
    EngineError,
    PickleCorruptError,
    PickleMissingError,
)
from models.pictures.preprocessing import Preprocessing
from models.release.files import load_release, save_release
from tests.networks import randomise, varied
from tests.trainer.keras_import.fixtures.make import pictures
from tests.trainer.keras_import.pickles import FIXTURES, GENUINE, config, option, repacked
from trainer.keras_import.read import import_keras
from worker.engines.keras import KerasEngine
from worker.engines.openvino import OpenVinoEngine


@pytest.mark.parametrize("name", GENUINE)
@pytest.mark.parametrize("engine", [lambda release: OpenVinoEngine(release, "f32"), KerasEngine])
def test_an_imported_network_gives_the_originals_scores(
    name: str, engine: Callable[..., Any]
) -> None:
    scores = engine(import_keras(FIXTURES / f"{name}.pkl")).predict(pictures()[0])
    expected = np.load(FIXTURES / f"{name}.npy")
    assert np.abs(scores - expected).max() < 1e-5
    assert expected.std(axis=0).max() > 0.02  # Or any picture's scores would do.


def test_an_imported_release_records_its_origin_and_the_references_preprocessing(
    tmp_path: Path,
) -> None:
    release = import_keras(FIXTURES / "windows211.pkl")
    assert release.preprocessing == Preprocessing(channel_order="bgr", antialias=False)
    assert release.data["imported"]["keras"] == "2.11.0"
    assert release.metrics == {}
    assert release.trained_labels == ()
    sha256 = save_release(release, tmp_path / "imported.pkl")
    assert load_release(tmp_path / "imported.pkl").sha256 == sha256


def functional() -> keras.Model:
    images = keras.Input((16, 16, 3))
    x = layers.ReLU(6.0)(
        layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same", use_bias=False)(images))
    )
    y = layers.DepthwiseConv2D(3, strides=2)(layers.ZeroPadding2D(((0, 1), (0, 1)))(x))
    z = layers.BatchNormalization()(layers.Conv2D(8, 1)(y))
    x = layers.GlobalAveragePooling2D()(layers.Add()([y, z]))
    return randomise(keras.Model(images, layers.Dense(28, activation="softmax")(x)))


def write_pickle(model: keras.Model, folder: Path, protocol: int = 4) -> Path:
    (folder / "model.pkl").write_bytes(pickle.dumps(model, protocol))
    return folder / "model.pkl"


def write_protocol_2(model: keras.Model, folder: Path) -> Path:
    return write_pickle(model, folder, protocol=2)


def write_keras(model: keras.Model, folder: Path) -> Path:
    model.save(folder / "model.keras")
    return folder / "model.keras"


def write_hdf5(model: keras.Model, folder: Path) -> Path:
    model.save(folder / "model.h5")
    return folder / "model.h5"


FORMS = [write_pickle, write_protocol_2, write_keras, write_hdf5]


@pytest.mark.parametrize("write", FORMS)
def test_each_form_of_a_keras_3_model_gives_the_originals_scores(
    tmp_path: Path, write: Callable[[keras.Model, Path], Path]
) -> None:
    model = functional()
    inputs = np.random.default_rng(0).uniform(-1, 1, (6, 16, 16, 3)).astype(np.float32)
    expected = model.predict_on_batch(inputs)
    release = import_keras(write(model, tmp_path))
    assert release.data["imported"]["keras"] == keras.__version__
    assert np.abs(OpenVinoEngine(release, "f32").predict(inputs) - expected).max() < 1e-5


@pytest.mark.parametrize("write", FORMS)
def test_the_layers_of_networks_from_elsewhere_are_rebuilt(
    tmp_path: Path, write: Callable[[keras.Model, Path], Path]
) -> None:
    model = randomise(varied((16, 20, 3)))
    inputs = np.random.default_rng(0).uniform(-1, 1, (6, 16, 20, 3)).astype(np.float32)
    scores = OpenVinoEngine(import_keras(write(model, tmp_path)), "f32").predict(inputs)
    assert np.abs(scores - model.predict_on_batch(inputs)).max() < 1e-5


def test_a_sum_written_as_an_operation_is_rebuilt(tmp_path: Path) -> None:
    images = keras.Input((16, 16, 3))
    a, b = layers.Conv2D(5, 3)(images), layers.Conv2D(5, 3, activation="relu")(images)
    x = layers.GlobalMaxPooling2D()(a + b)
    model = randomise(keras.Model(images, layers.Dense(28, activation="softmax")(x)))
    inputs = np.random.default_rng(0).uniform(-1, 1, (6, 16, 16, 3)).astype(np.float32)
    scores = OpenVinoEngine(import_keras(write_keras(model, tmp_path)), "f32").predict(inputs)
    assert np.abs(scores - model.predict_on_batch(inputs)).max() < 1e-5


def nested() -> keras.Model:
    """Networks inside others, two of a kind, as networks that build on a known one are saved."""
    inner = keras.Input((8, 8, 4))
    grown = keras.Model(inner, layers.Add()([inner, layers.Conv2D(4, 1)(inner)]), name="inner")
    sharp = keras.Sequential(
        [keras.Input((7, 8, 4)), layers.Conv2D(4, (2, 3), padding="same"), layers.ReLU()]
    )
    base_input = keras.Input((16, 16, 3))
    base = keras.Model(
        base_input,
        grown(layers.AveragePooling2D(2)(layers.Conv2D(4, 3, padding="same")(base_input))),
    )
    return keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Rescaling(1 / 255),
            base,
            layers.Conv2D(4, (2, 1)),
            sharp,
            keras.Sequential([keras.Input((7, 8, 4)), layers.Conv2D(6, 3)]),
            layers.GlobalMaxPooling2D(),
            layers.Dense(28, activation="softmax"),
        ]
    )


@pytest.mark.parametrize("write", [write_pickle, write_keras])
def test_networks_inside_others_are_rebuilt(
    tmp_path: Path, write: Callable[[keras.Model, Path], Path]
) -> None:
    model = randomise(nested())
    release = import_keras(write(model, tmp_path))
    pixels = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3)).astype(np.uint8)
    inputs = release.preprocessing.to_input(pixels)
    expected = model.predict_on_batch(pixels.astype(np.float32))
    for engine in (OpenVinoEngine(release, "f32"), KerasEngine(release)):
        assert np.abs(engine.predict(inputs) - expected).max() < 1e-5
    assert expected.std(axis=0).max() > 0.005


def test_a_layer_named_as_one_of_a_network_inside_is_refused(tmp_path: Path) -> None:
    inside = keras.Sequential([keras.Input((16, 16, 3)), layers.ReLU(name="b")], name="a")
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            inside,
            layers.Flatten(name="a.b"),
            layers.Dense(28, activation="softmax"),
        ]
    )
    with pytest.raises(PickleCorruptError, match=r"two of its layers have the same name, 'a\.b'"):
        import_keras(write_keras(model, tmp_path))


def test_networks_inside_others_in_hdf5_are_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(PickleCorruptError, match=r"networks inside others; save it as \.keras"):
        import_keras(write_hdf5(nested(), tmp_path))


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        (lambda a, b: a + 1.0, "takes a constant"),
        (lambda a, b: a * b, "is a 'Multiply'"),
        (lambda a, b: layers.Concatenate()([a, b]), "is a 'Concatenate'"),
        (lambda a, b: a + b[:, :1, :1], "is a 'GetItem'"),
        (lambda a, b: a + layers.GlobalMaxPooling2D(keepdims=True)(b), "of different shapes"),
    ],
)
def test_operations_that_cannot_be_expressed_are_refused_by_name(
    tmp_path: Path, operation: Callable[[Any, Any], Any], said: str
) -> None:
    images = keras.Input((16, 16, 3))
    x = operation(layers.Conv2D(5, 3)(images), layers.Conv2D(5, 3)(images))
    scores = layers.Dense(28, activation="softmax")(layers.GlobalMaxPooling2D()(x))
    with pytest.raises(PickleCorruptError, match=said):
        import_keras(write_keras(keras.Model(images, scores), tmp_path))


def test_weights_alone_are_refused(tmp_path: Path) -> None:
    functional().save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(PickleCorruptError, match="it holds weights alone"):
        import_keras(tmp_path / "model.weights.h5")


@pytest.mark.parametrize("cut", [8, 3000, -100])
def test_a_damaged_hdf5_file_is_refused(tmp_path: Path, cut: int) -> None:
    path = write_hdf5(functional(), tmp_path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(PickleCorruptError, match=r"model\.h5 is refused: it is broken"):
        import_keras(path)


def test_a_link_in_an_hdf5_file_is_refused(tmp_path: Path) -> None:
    model = functional()
    path = write_hdf5(model, tmp_path)
    last = f"model_weights/{model.layers[-1].name}"
    with h5py.File(path, "a") as file:
        del file[last]
        file[last] = h5py.ExternalLink("/etc/passwd", "/")
    with pytest.raises(PickleCorruptError, match="its weights hold a link"):
        import_keras(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PickleMissingError, match=r"No file at .*absent\.pkl"):
        import_keras(tmp_path / "absent.pkl")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            config(lambda c: c["config"]["layers"].pop()),
            "it gives 12 scores, not 28, .* such as --labels angry,disgust,fear,happy,sad,",
        ),
        (option(-1, activation="relu"), "does not end in a softmax"),
    ],
)
def test_a_network_without_28_scores_is_refused(
    tmp_path: Path, change: Callable[[dict[str, bytes]], object], said: str
) -> None:
    (tmp_path / "model.pkl").write_bytes(repacked(change))
    with pytest.raises((PickleCorruptError, EngineError), match=said):
        import_keras(tmp_path / "model.pkl")
