"""The trainer's commands as users run them: from sources to a model that classifies, whatever interrupts them."""

import json
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.integration.deployment import CUEMILL, Deployment, make_faces
from tests.services import wait_until


def make_labelled(root: Path, counts: dict[str, int], seed: int = 0) -> Path:
    """Grey noise, darker for `sad` and lighter for `happy`."""
    random = np.random.default_rng(seed)
    for label, count in counts.items():
        (root / label).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(0, 120, (48, 48)) + (120 if label == "happy" else 0)
            Image.fromarray(pixels.astype(np.uint8)).save(root / label / f"{number}.png")
    return root


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    return make_labelled(tmp_path / "faces", {"happy": 60, "sad": 40})


def epochs_done(history: Path) -> int:
    return len(json.loads(history.read_text())["epochs"]) if history.exists() else 0


def test_from_a_folder_to_a_model_that_classifies(embedded: Deployment, faces: Path, tmp_path: Path) -> None:
    built = embedded.run("dataset", "build", tmp_path / "pair", "--data", faces)
    assert "(100, 48, 48, 3)" in built.stderr
    run = tmp_path / "run"
    pair = tmp_path / "pair" / "train_data.npy"
    trained = embedded.run("train", "--data", pair, "--candidates", "model1", "--run-dir", run)
    assert "model1" in trained.stdout
    assert "It has seen 2 of 28 emotions: Happiness, Sadness." in trained.stderr
    model = run / "Model1_trained.pkl"
    classified = embedded.run("classify", make_faces(tmp_path / "new", 5), "--model", model, "--format", "jsonl")
    assert {json.loads(line)["model"] for line in classified.stdout.splitlines()} == {"Model1"}

    held_out = make_labelled(tmp_path / "others", {"happy": 6, "sad": 4}, seed=1)
    table = embedded.run("evaluate", model, "--data", held_out, "--report", tmp_path / "report").stdout
    assert "precision" in table
    assert "accuracy with mirror image" in table
    figures = embedded.json("evaluate", model, "--data", held_out)
    assert figures["accuracy"] >= 0.9
    assert figures["by_label"]["happiness"]["support"] == 6
    assert (tmp_path / "report" / "report.html").stat().st_size > 50_000


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGINT])
def test_a_training_that_is_stopped_goes_on_when_it_is_run_again(
    embedded: Deployment, faces: Path, tmp_path: Path, signal_number: signal.Signals
) -> None:
    history = tmp_path / "run" / "model1" / "history.json"
    command = ["train", "--data", str(faces), "--candidates", "model1", "--run-dir", str(tmp_path / "run")]
    process = subprocess.Popen([*CUEMILL, *command], env=embedded.variables, start_new_session=True)
    wait_until(lambda: epochs_done(history) >= 2, "two epochs")
    process.send_signal(signal_number)
    code = process.wait(60)
    before = json.loads(history.read_text())["epochs"]
    model = tmp_path / "run" / "Model1_trained.pkl"
    if signal_number is signal.SIGINT:  # Not when all is done already, which takes but a moment.
        assert code == 130
        assert model.exists()
    else:
        assert not model.exists()
    embedded.run(*command)
    after = json.loads(history.read_text())["epochs"]
    assert after[: len(before)] == before
    assert len(after) >= len(before)
    assert model.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["train", "--data", "nowhere"], 1, "nowhere is not a folder"),
        (["train", "--data", "FACES", "--candidates", "model9"], 2, "no candidate 'model9'; there are: model1, model2"),
        (["train", "--data", "FACES", "--candidates", "model2", "--weights", "absent.h5"], 1, "--weights none"),
        (["evaluate", "NoModel", "--data", "FACES"], 2, "neither a file nor a known release"),
        (["dataset", "build", "out", "--data", "FACES", "--prefix", "a/b"], 2, "can't begin a file's name"),
    ],
)
def test_what_cannot_be_trained_is_one_sentence(
    embedded: Deployment, faces: Path, arguments: list[str], code: int, said: str
) -> None:
    done = embedded.run(*[str(faces) if word == "FACES" else word for word in arguments], exit_code=code)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
