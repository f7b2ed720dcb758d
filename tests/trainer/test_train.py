"""From folders to a pickle, end to end, with a candidate small enough to fit in a second."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from models import pickles
from models.errors import DataError, NotFoundError
from models.preprocessing import Preprocessing
from trainer.candidates import CANDIDATES, Candidate
from trainer.data import load_folder
from trainer.evaluate import measure, predict_all
from trainer.progress import Silent
from trainer.train import train
from worker.engines.openvino import OpenVinoEngine


def build(input_shape: tuple[int, int, int], num_classes: int) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.MaxPooling2D(8),
            layers.Flatten(),
            layers.Dense(num_classes, activation="softmax", dtype="float32"),
        ],
        name="small",
    )


def fill(root: Path, counts: dict[str, int]) -> Path:
    """Noise, darker for `sad` and lighter for `happy`."""
    random = np.random.default_rng(0)
    for label, count in counts.items():
        (root / label).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(0, 100, (48, 48, 3)) + (100 if label == "happy" else 0)
            Image.fromarray(pixels.astype(np.uint8)).save(root / label / f"{number}.png")
    return root


@pytest.fixture(autouse=True)
def small_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = Candidate("small", build, lambda _steps: keras.optimizers.Adam(1e-2), epochs=3, patience=3)
    monkeypatch.setitem(CANDIDATES, "small", candidate)


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    return fill(tmp_path / "faces", {"happy": 40, "sad": 20})


@pytest.fixture
def others(tmp_path: Path) -> Path:
    return fill(tmp_path / "others", {"happy": 8, "sad": 6})


def test_training_writes_a_pickle_that_says_what_it_was_trained_on(tmp_path: Path, faces: Path, others: Path) -> None:
    output = tmp_path / "out" / "Small_trained.pkl"
    release = train("small", faces, others, tmp_path / "run", output)
    loaded = pickles.load(output, release.sha256)
    assert (loaded.name, loaded.trained_labels) == ("Small", ("happiness", "sadness"))
    assert loaded.data["train"]["images"] == {"happiness": 40, "sadness": 20}
    assert loaded.data["validation"]["images"] == {"happiness": 8, "sadness": 6}
    assert loaded.data["train"]["source"].endswith("/faces")
    assert loaded.training["optimizer"]["class_name"] == "Adam"
    assert {key: loaded.training[key] for key in ("candidate", "batch_size", "epochs", "seed")} == {
        "candidate": "small",
        "batch_size": 32,
        "epochs": 3,
        "seed": 0,
    }


def test_the_figures_in_the_pickle_are_those_an_engine_reaches(tmp_path: Path, faces: Path, others: Path) -> None:
    release = train("small", faces, others, tmp_path / "run", tmp_path / "small.pkl")
    held_out = load_folder(others, Preprocessing())
    scores = predict_all(OpenVinoEngine(release, "f32").predict, held_out, Preprocessing())
    measured = {f"val_{name}": value for name, value in measure(scores, held_out.labels).items()}
    assert release.metrics == pytest.approx(measured, abs=1e-5)
    assert release.metrics["val_accuracy"] > 0.9


def test_without_a_validation_folder_a_fifth_is_held_out(tmp_path: Path, faces: Path) -> None:
    release = train("small", faces, None, tmp_path / "run", tmp_path / "small.pkl")
    assert release.data["train"]["images"] == {"happiness": 32, "sadness": 16}
    assert release.data["validation"]["images"] == {"happiness": 8, "sadness": 4}


def test_training_again_in_the_same_folder_gives_the_same_network(tmp_path: Path, faces: Path) -> None:
    first, second = (train("small", faces, None, tmp_path / "run", tmp_path / name) for name in ("a.pkl", "b.pkl"))
    assert first.sha256 == second.sha256


def test_progress_is_told_of_images_batches_and_epochs(tmp_path: Path, faces: Path) -> None:
    class Recorder(Silent):
        def __init__(self) -> None:
            self.told: dict[str, tuple[int, ...]] = {}

        def read(self, done: int, total: int) -> None:
            self.told["read"] = (done, total)

        def batch(self, epoch: int, done: int, total: int) -> None:
            self.told["batch"] = (epoch, done, total)

    recorder = Recorder()
    train("small", faces, None, tmp_path / "run", tmp_path / "small.pkl", recorder)
    assert recorder.told == {"read": (60, 60), "batch": (3, 2, 2)}


def test_a_network_trained_on_grey_images_alone_is_shown_no_colour(tmp_path: Path, faces: Path) -> None:
    grey = tmp_path / "grey"
    for path in sorted(faces.rglob("*.png")):
        target = grey / path.relative_to(faces)
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).convert("L").save(target)
    orders = {
        folder.name: train("small", folder, None, tmp_path / f"run-{folder.name}", tmp_path / "x.pkl")
        for folder in (faces, grey)
    }
    assert {name: made.preprocessing.channel_order for name, made in orders.items()} == {"faces": "rgb", "grey": "grey"}


def test_an_unknown_candidate_is_refused_with_those_there_are(tmp_path: Path, faces: Path) -> None:
    with pytest.raises(NotFoundError, match="no candidate 'model9'; there are: model3"):
        train("model9", faces, None, tmp_path / "run", tmp_path / "small.pkl")


def test_a_run_folder_of_other_images_is_refused(tmp_path: Path, faces: Path, others: Path) -> None:
    train("small", faces, None, tmp_path / "run", tmp_path / "small.pkl")
    with pytest.raises(DataError, match="holds a run with other train, validation"):
        train("small", others, None, tmp_path / "run", tmp_path / "small.pkl")
