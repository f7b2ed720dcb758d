"""The shipped models: what their files and cards say, and fixed scores on the drawn faces."""

import os
from pathlib import Path

import numpy as np
import pytest

from models.errors import ImageError
from models.labels import EMOTIONS, FER2013
from models.pictures.resize import read_pixels
from models.release.files import load_release
from models.release.release import Release
from models.settings import SHIPPED_MODEL
from models.sources.read import read_image
from models.sources.walk import walk
from worker.engines.openvino import OpenVinoEngine

SAMPLES = Path(__file__).parents[2] / "samples"
TRAINED = SHIPPED_MODEL.parent
PARAMETERS = {"Cuemill1": 2_695_420, "Model3": 3_265_372}
LEAST_ACCURACY = {"Cuemill1": 0.67, "Model3": 0.60}
# In f32. When a model changes, print what `top_scores` returns.
GOLDEN = {
    "Cuemill1": {
        "anger.bmp": ("anger", 0.754),
        "anger.webp": ("anger", 0.824),
        "disgust.gif": ("sadness", 0.456),
        "disgust.pgm": ("disgust", 0.617),
        "fear.ppm": ("fear", 0.891),
        "fear.tif": ("fear", 0.925),
        "happiness-grey48.jpg": ("happiness", 0.867),
        "happiness-palette.png": ("happiness", 0.86),
        "happiness-rotated.jpg": ("happiness", 0.904),
        "happiness.jpg": ("happiness", 0.856),
        "more/neutral.webp": ("neutral", 0.398),
        "neutral-transparent.png": ("neutral", 0.367),
        "sadness-cmyk.jpg": ("fear", 0.847),
        "sadness.png": ("sadness", 0.733),
        "surprise-16bit.png": ("surprise", 0.968),
        "surprise.jpeg": ("surprise", 0.953),
    },
    "Model3": {
        "anger.bmp": ("anger", 0.48),
        "anger.webp": ("anger", 0.565),
        "disgust.gif": ("anger", 0.394),
        "disgust.pgm": ("sadness", 0.248),
        "fear.ppm": ("fear", 0.853),
        "fear.tif": ("fear", 0.856),
        "happiness-grey48.jpg": ("happiness", 0.84),
        "happiness-palette.png": ("happiness", 0.884),
        "happiness-rotated.jpg": ("happiness", 0.98),
        "happiness.jpg": ("happiness", 0.812),
        "more/neutral.webp": ("neutral", 0.431),
        "neutral-transparent.png": ("sadness", 0.409),
        "sadness-cmyk.jpg": ("sadness", 0.481),
        "sadness.png": ("sadness", 0.421),
        "surprise-16bit.png": ("surprise", 0.81),
        "surprise.jpeg": ("surprise", 0.808),
    },
}


@pytest.fixture(scope="module", params=sorted(GOLDEN))
def shipped(request: pytest.FixtureRequest) -> Release:
    return load_release(TRAINED / f"{request.param}_trained.pkl")


def top_scores(release: Release) -> dict[str, tuple[str, float]]:
    """The top emotion of each readable sample that a face fills, and its score."""
    engine, preprocessing = OpenVinoEngine(release, "f32"), release.preprocessing
    scores: dict[str, tuple[str, float]] = {}
    root = os.fsencode(SAMPLES)
    for path in walk(root, recursive=True):
        if path.startswith(b"photographs/"):
            continue
        try:
            pixels = read_pixels(read_image(root, path)[0], preprocessing)
        except ImageError:
            continue
        (row,) = engine.predict(preprocessing.to_input(pixels[None]))
        scores[path.decode()] = (EMOTIONS[int(np.argmax(row))], round(float(row.max()), 3))
    return scores


def test_the_samples_have_the_same_scores_as_always(shipped: Release) -> None:
    scores, golden = top_scores(shipped), GOLDEN[shipped.name]
    emotions = {path: emotion for path, (emotion, _) in scores.items()}
    assert emotions == {path: emotion for path, (emotion, _) in golden.items()}
    for path, (_, score) in scores.items():
        assert score == pytest.approx(golden[path][1], abs=2e-3), path


def test_it_states_which_labels_it_has_seen(shipped: Release) -> None:
    assert shipped.labels == EMOTIONS
    assert set(shipped.trained_labels) == set(FER2013.values())
    assert sum(weight.size for weight in shipped.weights.values()) == PARAMETERS[shipped.name]
    assert shipped.preprocessing.channel_order == "grey"
    assert shipped.preprocessing.equalise == (shipped.name == "Cuemill1")


def test_the_default_is_the_better_one() -> None:
    accuracies = {
        path.name: load_release(path).metrics["val_accuracy"] for path in TRAINED.glob("*.pkl")
    }
    assert max(accuracies, key=accuracies.__getitem__) == SHIPPED_MODEL.name


def test_it_is_as_good_as_its_card_says_and_small_enough_to_ship(shipped: Release) -> None:
    path = TRAINED / f"{shipped.name}_trained.pkl"
    assert shipped.metrics["val_accuracy"] >= LEAST_ACCURACY[shipped.name]
    assert path.stat().st_size < 20_000_000
    card = path.with_suffix(".md").read_text()
    for figure in ("val_accuracy", "val_macro_f1"):
        assert f"{shipped.metrics[figure]:.4f}" in card
    assert shipped.sha256 in card
    assert "EMOTIC" in card


def test_int8_was_measured_and_loses_little(shipped: Release) -> None:
    assert shipped.int8 is not None
    assert shipped.int8.images == 3_589
    assert shipped.int8.admitted
    card = (TRAINED / f"{shipped.name}_trained.md").read_text()
    assert f"{shipped.int8.accuracy:.4f} against {shipped.int8.accuracy_f32:.4f}" in card


def test_its_scores_are_calibrated_and_its_history_is_kept(shipped: Release) -> None:
    assert shipped.calibration["ece_after"] < shipped.calibration["ece_before"]
    history = shipped.training["history"]
    assert len(history) == shipped.training["epochs"]
    best = max(history, key=lambda epoch: epoch["val_accuracy"])
    assert history.index(best) + 1 == shipped.training["best_epoch"]


def test_labels_it_has_never_seen_score_next_to_nothing(shipped: Release) -> None:
    engine = OpenVinoEngine(shipped, "f32")
    unseen = [i for i, label in enumerate(EMOTIONS) if label not in shipped.trained_labels]
    noise = np.random.default_rng(0).uniform(-1, 1, (32, 48, 48, 3)).astype(np.float32)
    assert engine.predict(noise)[:, unseen].sum(axis=1).max() < 0.05
