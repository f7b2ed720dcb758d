"""Networks of other labels: their scores keep their values, and all others are 0."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from models.errors import PickleCorruptError
from models.labels import EMOTIONS, FER2013
from models.pictures.preprocessing import Preprocessing
from tests.trainer.keras_import.fixtures.make import pictures
from tests.trainer.keras_import.pickles import FIXTURES
from trainer.keras_import.read import import_keras
from worker.engines.keras import KerasEngine
from worker.engines.openvino import OpenVinoEngine

NAMES = sorted(FER2013)
INDICES = [EMOTIONS.index(FER2013[name]) for name in NAMES]
LIGHT = np.linspace(0.1, 1, 6)[:, None, None, None]
PIXELS = (np.random.default_rng(0).integers(0, 256, (6, 20, 24, 3)) * LIGHT).astype(np.uint8)


def seven(*last: keras.Layer) -> keras.Model:
    """Grey input of another size, scaled inside, and FER-2013's seven labels."""
    model = keras.Sequential(
        [
            keras.Input((20, 24, 1)),
            layers.Rescaling(1 / 255, offset=-0.5),
            layers.Conv2D(6, 3, activation="relu"),
            layers.GlobalMaxPooling2D(),
            *(last or [layers.Dense(7, activation="softmax")]),
        ]
    )
    random = np.random.default_rng(1)
    for variable in model.trainable_variables:
        variable.assign(random.normal(0, 0.7, variable.shape))
    return model


def saved(model: keras.Model, folder: Path) -> Path:
    model.save(folder / "seven.keras")
    return folder / "seven.keras"


@pytest.mark.parametrize(
    "last",
    [
        lambda: [layers.Dense(7, activation="softmax")],
        lambda: [layers.Dense(7, activation="softmax", use_bias=False)],
        lambda: [layers.Dense(7), layers.Dropout(0.2), layers.Activation("softmax")],
    ],
)
def test_a_grey_network_of_seven_labels_gives_the_originals_scores(
    tmp_path: Path, last: Callable[[], list[keras.Layer]]
) -> None:
    model = seven(*last())
    expected = model.predict_on_batch(PIXELS[..., :1].astype(np.float32))
    assert expected.std(axis=0).max() > 0.02

    release = import_keras(saved(model, tmp_path), NAMES)
    assert release.preprocessing == Preprocessing(
        20, 24, "grey", antialias=False, scale=1 / 255, offset=-0.5
    )
    assert set(release.trained_labels) == set(FER2013.values())

    inputs = release.preprocessing.to_input(np.repeat(PIXELS[..., :1], 3, axis=-1))
    for scores in (
        OpenVinoEngine(release, "f32").predict(inputs),
        KerasEngine(release).predict(inputs),
    ):
        assert np.abs(scores[:, INDICES] - expected).max() < 1e-5
        assert not np.delete(scores, INDICES, axis=1).any()


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "it gives 7 scores, not 28, .* --labels angry,disgust,fear,happy,sad,surprise,neutr"),
        (NAMES[:6], "it gives 7 scores, but 6 labels were named"),
        ([*NAMES[:6], "contempt"], "the label 'contempt' is none of the 28 emotions"),
        ([*NAMES[:6], "anger"], "two of its labels are anger"),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path: Path, names: list[str], said: str) -> None:
    with pytest.raises(PickleCorruptError, match=said):
        import_keras(saved(seven(), tmp_path), names)


@pytest.mark.parametrize("scaling", [{"scale": 2.0, "offset": -1.0}, {"scale": [0.1, 0.2, 0.3]}])
def test_a_scale_that_is_not_for_pixels_is_refused(
    tmp_path: Path, scaling: dict[str, float]
) -> None:
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Rescaling(**scaling),
            layers.Flatten(),
            layers.Dense(28, activation="softmax"),
        ]
    )
    with pytest.raises(PickleCorruptError, match=r"its layer 'rescaling.*' has scale"):
        import_keras(saved(model, tmp_path))


def test_an_input_that_is_also_used_unscaled_is_refused(tmp_path: Path) -> None:
    images = keras.Input((16, 16, 3))
    both = layers.Add()([images, layers.Rescaling(1 / 255)(images)])
    scores = layers.Dense(28, activation="softmax")(layers.Flatten()(both))
    with pytest.raises(PickleCorruptError, match="a Rescaling that is not alone at the input"):
        import_keras(saved(keras.Model(images, scores), tmp_path))


def test_a_network_of_two_outputs_is_refused(tmp_path: Path) -> None:
    images = keras.Input((16, 16, 3))
    flat = layers.Flatten()(images)
    outputs = [layers.Dense(28, activation="softmax")(flat) for _ in range(2)]
    with pytest.raises(PickleCorruptError, match="it has 2 outputs, expected 1"):
        import_keras(saved(keras.Model(images, outputs), tmp_path))


def test_28_labels_in_another_order_are_put_in_ours() -> None:
    release = import_keras(FIXTURES / "keras211.pkl", EMOTIONS[::-1])
    scores = OpenVinoEngine(release, "f32").predict(pictures()[0])
    expected = np.load(FIXTURES / "keras211.npy")
    assert np.abs(scores[:, ::-1] - expected).max() < 1e-5
