"""From sources to a pickle, end to end, with candidates small enough to fit in a second."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image, ImageOps

from models.errors import DataError, NotFoundError
from models.labels import EMOTIONS
from models.pictures.preprocessing import Preprocessing
from models.release.files import load_release
from trainer.candidates import CANDIDATES, Candidate, Shape
from trainer.datasets.load import load
from trainer.plan import Plan
from trainer.progress import Silent
from trainer.quality.evaluation import measure, predict_all
from trainer.train import TrainingResult, train
from worker.engines.openvino import OpenVinoEngine


def build(input_shape: Shape, num_classes: int) -> keras.Model:
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
    random = np.random.default_rng(len(root.name))
    for label, count in counts.items():
        (root / label).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(0, 100, (48, 48, 3)) + (100 if label == "happy" else 0)
            Image.fromarray(pixels.astype(np.uint8)).save(root / label / f"{number}.png")
    return root


@pytest.fixture(autouse=True)
def small_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = Candidate(
        "small", build, lambda _steps: keras.optimizers.Adam(1e-2), epochs=3, patience=3
    )
    lazy = replace(candidate, name="lazy", optimizer=lambda _steps: keras.optimizers.SGD(0.0))
    monkeypatch.setitem(CANDIDATES, "small", candidate)
    monkeypatch.setitem(CANDIDATES, "lazy", lazy)


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    return fill(tmp_path / "faces", {"happy": 40, "sad": 20})


@pytest.fixture
def others(tmp_path: Path) -> Path:
    return fill(tmp_path / "others", {"happy": 8, "sad": 6})


def plan(data: Path, *validation: Path, **options: Any) -> Plan:
    return Plan((str(data),), tuple(map(str, validation)), **{"candidates": ("small",), **options})


def test_training_writes_a_pickle_that_describes_its_data(
    tmp_path: Path, faces: Path, others: Path
) -> None:
    output = tmp_path / "out" / "Small_trained.pkl"
    result = train(plan(faces, others), tmp_path / "run", output)
    loaded = load_release(output, result.release.sha256)
    assert (result.path, result.interrupted) == (output, False)
    assert (loaded.name, loaded.trained_labels) == ("Small", ("happiness", "sadness"))
    assert loaded.data["train"]["images"] == {"happiness": 40, "sadness": 20}
    assert loaded.data["validation"]["images"] == {"happiness": 8, "sadness": 6}
    assert loaded.data["train"]["source"].endswith("/faces")
    assert loaded.data["train"]["pictures"] == {"grey": 0.0, "equalised": 0.0, "enlarged": 0.0}
    assert loaded.training["optimizer"]["class_name"] == "Adam"
    assert {
        key: loaded.training[key]
        for key in ("candidate", "batch_size", "epochs", "seed", "teachers", "start")
    } == {
        "candidate": "small",
        "batch_size": 32,
        "epochs": 3,
        "seed": 0,
        "teachers": [],
        "start": "",
    }


def test_the_figures_in_the_pickle_are_those_an_engine_reaches(
    tmp_path: Path, faces: Path, others: Path
) -> None:
    release = train(plan(faces, others), tmp_path / "run").release
    held_out = load([str(others)], Preprocessing())
    scores = predict_all(OpenVinoEngine(release, "f32").predict, held_out, Preprocessing())
    measured = {f"val_{name}": value for name, value in measure(scores, held_out.labels).items()}
    assert release.metrics == pytest.approx(measured, abs=1e-5)
    assert release.metrics["val_accuracy"] > 0.9


def test_scores_are_calibrated_and_the_pickle_records_it(
    tmp_path: Path, faces: Path, others: Path
) -> None:
    result = train(plan(faces, others), tmp_path / "run")
    raw = json.loads((tmp_path / "run" / "small" / "history.json").read_text())["epochs"]
    best = max(raw, key=lambda epoch: epoch["val_accuracy"])
    assert set(result.release.calibration) == {
        "temperature",
        "ece_before",
        "ece_after",
        "uncertain_below",
        "coverage",
    }
    assert result.release.calibration["temperature"] != pytest.approx(1, abs=0.01)
    assert result.release.metrics["val_loss"] < best["val_loss"]
    assert load_release(result.path).calibration == result.release.calibration


def test_several_candidates_are_compared_and_the_best_is_pickled(
    tmp_path: Path, faces: Path, others: Path
) -> None:
    result = train(plan(faces, others, candidates=("lazy", "small")), tmp_path / "run")
    assert [row["candidate"] for row in result.comparison] == ["lazy", "small"]
    assert [row["chosen"] for row in result.comparison] == [False, True]
    assert result.comparison[0]["val_accuracy"] < result.comparison[1]["val_accuracy"]
    assert result.comparison[1]["parameters"] == 6 * 6 * 3 * 28 + 28
    assert result.comparison[1]["multiply_adds"] == 6 * 6 * 3 * 28
    assert result.path == tmp_path / "run" / "Small_trained.pkl"
    assert json.loads((tmp_path / "run" / "comparison.json").read_text()) == result.comparison


def test_the_chosen_candidate_follows_the_selected_metric(
    tmp_path: Path, faces: Path, others: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = iter([(0.9, 0.1), (0.5, 0.2)] * 2)

    def row(*_: Any) -> dict[str, Any]:
        accuracy, f1 = next(rows)
        some = dict.fromkeys(("parameters", "multiply_adds", "epochs", "best_epoch", "seconds"), 1)
        return {
            "candidate": "x",
            "val_accuracy": accuracy,
            "val_macro_f1": f1,
            "chosen": False,
            **some,
        }

    monkeypatch.setattr("trainer.train._summarise", row)
    both = plan(faces, others, candidates=("lazy", "small"))
    names = [
        train(replace(both, select_by=by), tmp_path / "run").release.name
        for by in ("accuracy", "macro_f1")
    ]
    assert names == ["Lazy", "Small"]


def test_report_figures_and_card_are_written_beside_the_pickle(
    tmp_path: Path, faces: Path, others: Path
) -> None:
    result = train(plan(faces, others, candidates=("lazy", "small")), tmp_path / "run")
    names = {path.name for path in (tmp_path / "run" / "figures").iterdir()}
    assert names == {
        "learning_curves.png",
        "confusion_matrix.png",
        "reliability.png",
        "examples.png",
    }
    page = result.report.read_text()
    assert page.count("data:image/png;base64,") == 4
    assert "http" not in page
    assert "<td>lazy</td>" in page
    card = result.path.with_suffix(".md").read_text()
    assert "2 of 28: Happiness, Sadness" in card
    assert "Doubt/Confusion" in card
    assert result.release.sha256 in card
    assert "| pictures of train | 0% grey, 0% equalised, 0% enlarged |" in card
    assert "A predicted expression is not a felt emotion" in card
    assert "EU AI" in card


def test_without_a_validation_source_a_fifth_is_held_out(tmp_path: Path, faces: Path) -> None:
    release = train(plan(faces), tmp_path / "run").release
    assert release.data["train"]["images"] == {"happiness": 32, "sadness": 16}
    assert release.data["validation"]["images"] == {"happiness": 8, "sadness": 4}


def test_pictures_in_both_splits_are_dropped_from_train_and_counted(
    tmp_path: Path, faces: Path, others: Path
) -> None:
    for number in range(3):
        (faces / "happy" / f"copy{number}.png").write_bytes(
            (others / "sad" / f"{number}.png").read_bytes()
        )
    release = train(plan(faces, others), tmp_path / "run").release
    assert release.data["train"]["images"] == {"happiness": 40, "sadness": 20}
    assert release.data["train"]["dropped"] == 3


def test_training_again_in_the_same_folder_gives_the_same_network(
    tmp_path: Path, faces: Path
) -> None:
    first, second = (
        train(plan(faces), tmp_path / "run", tmp_path / name).release for name in ("a.pkl", "b.pkl")
    )
    assert first.sha256 == second.sha256


class Recorder(Silent):
    def __init__(self) -> None:
        self.calls: dict[str, Any] = {}

    def read(self, done: int, total: int) -> None:
        self.calls["read"] = (done, total)

    def data(self, train: Mapping[str, int], validation: Mapping[str, int], dropped: int) -> None:
        self.calls["data"] = (train, validation, dropped)

    def warning(self, text: str) -> None:
        self.calls["warning"] = text

    def candidate(self, name: str, epochs: int) -> None:
        self.calls["candidate"] = (name, epochs)

    def batch(self, epoch: int, done: int, total: int) -> None:
        self.calls["batch"] = (epoch, done, total)


def test_progress_reports_data_candidates_and_batches(tmp_path: Path, faces: Path) -> None:
    recorder = Recorder()
    train(plan(faces), tmp_path / "run", progress=recorder)
    assert recorder.calls == {
        "read": (60, 60),
        "data": ({"happiness": 32, "sadness": 16}, {"happiness": 8, "sadness": 4}, 0),
        "candidate": ("small", 3),
        "batch": (3, 2, 2),
    }


def test_training_on_equalised_pictures_is_warned_of(tmp_path: Path, faces: Path) -> None:
    for path in faces.rglob("*.png"):
        ImageOps.equalize(Image.open(path).convert("L")).save(path)
    recorder = Recorder()
    train(plan(faces), tmp_path / "run", progress=recorder)
    assert recorder.calls["warning"].startswith(
        "100% of the training pictures have an equalised histogram."
    )


class Interrupt(Silent):
    """Ctrl-C in the middle of an epoch."""

    def __init__(self, candidate: str, epoch: int) -> None:
        self._at = (candidate, epoch)
        self._name = ""

    def candidate(self, name: str, epochs: int) -> None:
        self._name = name

    def batch(self, epoch: int, done: int, total: int) -> None:
        if (self._name, epoch) == self._at:
            raise KeyboardInterrupt


def test_an_interruption_writes_the_best_so_far_and_training_can_resume(
    tmp_path: Path, faces: Path, others: Path
) -> None:
    both = plan(faces, others, candidates=("small", "lazy"))
    result = train(both, tmp_path / "run", progress=Interrupt("lazy", 1))
    assert (result.interrupted, [row["candidate"] for row in result.comparison]) == (
        True,
        ["small"],
    )
    assert load_release(result.path).training["epochs"] == 3
    again = train(both, tmp_path / "run")
    assert (again.interrupted, len(again.comparison)) == (False, 2)


def test_an_interruption_within_a_run_keeps_its_best_epoch(
    tmp_path: Path, faces: Path, others: Path
) -> None:
    result = train(plan(faces, others), tmp_path / "run", progress=Interrupt("small", 3))
    assert (result.interrupted, result.release.training["epochs"]) == (True, 2)


def test_an_interruption_before_the_first_epoch_leaves_nothing(
    tmp_path: Path, faces: Path, others: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(plan(faces, others), tmp_path / "run", progress=Interrupt("small", 1))
    assert not list(tmp_path.glob("run/*.pkl"))


def test_unavailable_pretrained_weights_are_reported_before_anything_is_fitted(
    tmp_path: Path, faces: Path, others: Path
) -> None:
    both = replace(
        plan(faces, others, candidates=("small", "mobilenetv2")),
        weights=str(tmp_path / "missing.h5"),
    )
    with pytest.raises(DataError, match="Cannot load MobileNetV2"):
        train(both, tmp_path / "run")
    assert not (tmp_path / "run" / "small").exists()


def test_teachers_scores_outweigh_the_labels(tmp_path: Path, faces: Path, others: Path) -> None:
    """A teacher that predicts fear for every image teaches fear."""
    fear = np.eye(28, dtype=np.float32)[EMOTIONS.index("fear")]
    result: TrainingResult = train(
        plan(faces, others, teachers=("ab12",)),
        tmp_path / "run",
        teachers=[lambda batch: np.tile(fear, (len(batch), 1))],
    )
    scores = OpenVinoEngine(result.release, "f32").predict(np.zeros((1, 48, 48, 3), np.float32))
    assert scores[0].argmax() == EMOTIONS.index("fear")
    assert result.release.training["teachers"] == ["ab12"]
    with pytest.raises(DataError, match="holds a run with a different soft, teachers"):
        train(plan(faces, others), tmp_path / "run")
    with pytest.raises(DataError, match="holds a run with a different teachers"):
        train(
            plan(faces, others, teachers=("cd34",)),
            tmp_path / "run",
            teachers=[lambda batch: np.tile(fear, (len(batch), 1))],
        )


def test_a_training_starts_from_the_weights_of_a_release(
    tmp_path: Path, faces: Path, others: Path
) -> None:
    """With a learning rate of 0 the weights stay, so it scores as the release does."""
    first = train(plan(faces, others), tmp_path / "run").release
    result = train(
        plan(faces, others, candidates=("lazy",), start=first.sha256),
        tmp_path / "lazy",
        start=first,
    ).release
    assert result.training["start"] == first.sha256
    assert result.metrics["val_accuracy"] == first.metrics["val_accuracy"] > 0.9
    with pytest.raises(DataError, match="holds a run with a different start"):
        train(plan(faces, others, candidates=("lazy",)), tmp_path / "lazy")


def test_a_network_that_equalises_is_trained_and_continued_on_flat_histograms(
    tmp_path: Path, faces: Path, others: Path
) -> None:
    first = train(plan(faces, others, equalise=True), tmp_path / "run").release
    shown = first.preprocessing
    assert (shown.channel_order, shown.equalise) == ("grey", True)
    # Only the light tells these labels apart, and a flat histogram takes it away.
    assert first.metrics["val_accuracy"] < 0.9

    again = train(plan(faces, others, start=first.sha256), tmp_path / "again", start=first).release
    assert again.preprocessing == shown


def test_a_release_of_another_network_cannot_be_started_from(
    tmp_path: Path, faces: Path, others: Path
) -> None:
    first = train(plan(faces, others), tmp_path / "run").release
    other = replace(first, weights={**first.weights, "more/kernel": np.zeros(3, np.float32)})
    with pytest.raises(DataError, match="Small is not a small network"):
        train(plan(faces, others), tmp_path / "other", start=other)


def test_a_network_trained_on_grey_images_alone_is_shown_no_colour(
    tmp_path: Path, faces: Path
) -> None:
    grey = tmp_path / "grey"
    for path in sorted(faces.rglob("*.png")):
        target = grey / path.relative_to(faces)
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).convert("L").save(target)
    orders = {
        folder.name: train(
            plan(folder), tmp_path / f"run-{folder.name}"
        ).release.preprocessing.channel_order
        for folder in (faces, grey)
    }
    assert orders == {"faces": "rgb", "grey": "grey"}


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"candidates": ("small", "model9")}, NotFoundError),
        ({"candidates": ()}, DataError),
        ({"data": ()}, DataError),
    ],
)
def test_an_impossible_plan_is_refused_before_anything_is_written(
    tmp_path: Path, faces: Path, options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        train(replace(plan(faces), **options), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_folder_of_other_images_is_refused(tmp_path: Path, faces: Path, others: Path) -> None:
    train(plan(faces), tmp_path / "run")
    with pytest.raises(DataError, match="holds a run with a different train, validation"):
        train(plan(others), tmp_path / "run")
