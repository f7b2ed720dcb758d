"""All 28 labels: from EMOTIC and FER-2013's folders to a network that tells them apart."""

from pathlib import Path

import keras
import numpy as np
import pytest
import scipy.io
from keras import layers
from numpy.typing import NDArray
from PIL import Image

from models.labels import EMOTIONS, title
from models.release.files import load_release
from tests.trainer.datasets.annotations import agreed, person, picture, structs
from trainer.candidates import CANDIDATES, Candidate, Shape
from trainer.plan import Plan
from trainer.train import train
from worker.engines.openvino import OpenVinoEngine

SIDE, CELL, ACROSS = 48, 8, 7
NOT_IN_EMOTIC = ("disgust", "neutral")


def build(input_shape: Shape, num_classes: int) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.AveragePooling2D(CELL),
            layers.Flatten(),
            layers.Dense(num_classes, activation="softmax", dtype="float32"),
        ],
        name="small",
    )


def draw(label: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """A dark square with noise; where it is light says which label it has."""
    pixels = random.integers(0, 60, (SIDE, SIDE, 3), dtype=np.uint8)
    row, column = divmod(label, SIDE // CELL)
    pixels[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] += 190
    return pixels


def save_part(folder: Path, name: str, part: str) -> object:
    """A photograph of 26 people in rows, and their annotations."""
    random = np.random.default_rng(len(name))
    photograph = np.zeros((4 * SIDE, ACROSS * SIDE, 3), np.uint8)
    people = []
    for label, emotion in enumerate(EMOTIONS):
        if emotion in NOT_IN_EMOTIC:
            continue
        top, left = (SIDE * at for at in divmod(label, ACROSS))
        photograph[top : top + SIDE, left : left + SIDE] = draw(label, random)
        box = [left, top, left + SIDE, top + SIDE]
        category = title(emotion)
        people.append(
            person(box, category) if part == "train" else agreed(box, category, category, category)
        )
    Image.fromarray(photograph).save(folder / name)
    return picture(name, *people)


def test_a_network_learns_all_labels_from_emotic_and_fer2013(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = Candidate(
        "small", build, lambda _steps: keras.optimizers.Adam(0.05), epochs=25, patience=25
    )
    monkeypatch.setitem(CANDIDATES, "small", candidate)
    random = np.random.default_rng(0)

    images = tmp_path / "emotic" / "mscoco" / "images"
    images.mkdir(parents=True)
    parts = {
        "train": structs(*(save_part(images, f"{'t' * i}.png", "train") for i in range(1, 9))),
        "val": save_part(images, "validation.png", "val"),
    }
    annotations = tmp_path / "Annotations" / "Annotations.mat"
    annotations.parent.mkdir()
    scipy.io.savemat(annotations, parts)

    for folder, count in (("train", 8), ("validation", 1)):
        for emotion in NOT_IN_EMOTIC:
            (tmp_path / folder / emotion).mkdir(parents=True)
            for number in range(count):
                pixels = draw(EMOTIONS.index(emotion), random)
                Image.fromarray(pixels).save(tmp_path / folder / emotion / f"{number}.png")

    plan = Plan(
        (f"{annotations},train", str(tmp_path / "train")),
        (f"{annotations},val", str(tmp_path / "validation")),
        candidates=("small",),
    )
    output = tmp_path / "all28.pkl"
    result = train(plan, tmp_path / "run", output)

    release = load_release(output, result.release.sha256)
    assert tuple(release.trained_labels) == EMOTIONS
    faces = np.stack([draw(label, random) for label in range(len(EMOTIONS))])
    scores = OpenVinoEngine(release).predict(release.preprocessing.to_input(faces))
    assert [EMOTIONS[label] for label in scores.argmax(axis=1)] == list(EMOTIONS)
    assert "28 of 28" in output.with_suffix(".md").read_text()
