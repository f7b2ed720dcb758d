"""The model that ships: what it says of itself, and fixed scores on the drawn faces."""

import os
from pathlib import Path

import numpy as np
import pytest

from models import pickles
from models.errors import ImageError
from models.images import decode
from models.labels import EMOTIONS, FER2013
from models.paths import read_image, walk
from models.pickles import Release
from models.settings import SHIPPED_MODEL
from worker.engines.openvino import OpenVinoEngine

SAMPLES = Path(__file__).parents[2] / "samples"
# In f32; new ones when the model changes: print what `scores` returns.
GOLDEN = {
    "anger.bmp": ("anger", 0.752),
    "anger.webp": ("anger", 0.937),
    "disgust.gif": ("anger", 0.566),
    "disgust.pgm": ("anger", 0.306),
    "fear.ppm": ("fear", 0.801),
    "fear.tif": ("fear", 0.91),
    "happiness-grey48.jpg": ("happiness", 0.901),
    "happiness-palette.png": ("happiness", 0.836),
    "happiness-rotated.jpg": ("happiness", 0.992),
    "happiness.jpg": ("happiness", 0.93),
    "more/neutral.webp": ("neutral", 0.735),
    "neutral-transparent.png": ("neutral", 0.598),
    "sadness-cmyk.jpg": ("sadness", 0.411),
    "sadness.png": ("sadness", 0.526),
    "surprise-16bit.png": ("surprise", 0.979),
    "surprise.jpeg": ("surprise", 0.971),
}


@pytest.fixture(scope="module")
def shipped() -> Release:
    return pickles.load(SHIPPED_MODEL)


def scores(release: Release) -> dict[str, tuple[str, float]]:
    """The top emotion and its score of each sample that can be read."""
    engine, preprocessing, found = OpenVinoEngine(release, "f32"), release.preprocessing, {}
    root = os.fsencode(SAMPLES)
    for path in walk(root, recursive=True):
        try:
            picture = decode(read_image(root, path), preprocessing.size)
        except ImageError:
            continue
        (row,) = engine.predict(preprocessing.to_input(preprocessing.resize(picture)[None]))
        found[path.decode()] = (EMOTIONS[int(np.argmax(row))], round(float(row.max()), 3))
    return found


def test_it_gives_the_samples_the_scores_it_always_gave(shipped: Release) -> None:
    found = scores(shipped)
    assert {path: emotion for path, (emotion, _) in found.items()} == {path: e for path, (e, _) in GOLDEN.items()}
    for path, (_, score) in found.items():
        assert score == pytest.approx(GOLDEN[path][1], abs=2e-3), path


def test_it_is_model_3_and_says_which_labels_it_has_seen(shipped: Release) -> None:
    assert shipped.name == "Model3"
    assert shipped.labels == EMOTIONS
    assert set(shipped.trained_labels) == set(FER2013.values())
    assert sum(weight.size for weight in shipped.weights.values()) == 3_265_372
    assert shipped.preprocessing.channel_order == "grey"


def test_it_is_as_good_as_its_card_says_and_small_enough_to_ship(shipped: Release) -> None:
    assert shipped.metrics["val_accuracy"] >= 0.55
    assert SHIPPED_MODEL.stat().st_size < 20_000_000
    card = SHIPPED_MODEL.with_suffix(".md").read_text()
    for figure in ("val_accuracy", "val_macro_f1"):
        assert f"{shipped.metrics[figure]:.4f}" in card
    assert shipped.sha256 in card


def test_labels_it_has_never_seen_score_next_to_nothing(shipped: Release) -> None:
    engine = OpenVinoEngine(shipped, "f32")
    unseen = [i for i, label in enumerate(EMOTIONS) if label not in shipped.trained_labels]
    noise = np.random.default_rng(0).uniform(-1, 1, (32, 48, 48, 3)).astype(np.float32)
    assert engine.predict(noise)[:, unseen].sum(axis=1).max() < 0.05
