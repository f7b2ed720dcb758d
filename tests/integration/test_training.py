"""The trainer's commands as users run them: from labelled images to a model that classifies."""

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest
from PIL import Image

from tests.integration.deployment import CUEMILL, Deployment, audit, make_faces
from tests.services import patience, wait_until


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


def test_from_a_folder_to_a_model_that_classifies(
    sealed: Deployment, faces: Path, tmp_path: Path
) -> None:
    built = sealed.run("dataset", "build", tmp_path / "pair", "--data", faces)
    assert "(100, 48, 48, 3)" in built.stderr

    run = tmp_path / "run"
    pair = tmp_path / "pair" / "train_data.npy"
    trained = sealed.run("train", "--data", pair, "--candidates", "model1", "--run-dir", run)
    assert "model1" in trained.stdout
    assert "Trained on 2 of 28 emotions: Happiness, Sadness." in trained.stderr

    model = run / "Model1_trained.pkl"
    classified = sealed.run(
        "classify", make_faces(tmp_path / "new", 5), "--model", model, "--format", "jsonl"
    )
    assert {json.loads(line)["model"] for line in classified.stdout.splitlines()} == {"Model1"}

    assert "the threshold above which 80 % were correct in validation" in classified.stderr
    assert classified.stderr.splitlines()[-1].startswith("Job 1 completed: 5 images")

    held_out = make_labelled(tmp_path / "others", {"happy": 6, "sad": 4}, seed=1)
    table = sealed.run(
        "evaluate", model, "--data", held_out, "--report", tmp_path / "report"
    ).stdout
    assert "precision" in table
    assert "accuracy with mirror image" in table

    figures = sealed.json("evaluate", model, "--data", held_out)
    assert figures["accuracy"] >= 0.9
    assert figures["precision"] in ("f32", "bf16", "int8")
    assert figures["by_label"]["happiness"]["support"] == 6
    assert (tmp_path / "report" / "report.html").stat().st_size > 50_000

    assert (
        sealed.run("models", "inspect", "Model1").stdout
        == sealed.run("models", "inspect", model).stdout
    )
    int8 = json.loads(sealed.run("models", "inspect", model).stdout)["int8"]
    assert (int8["accuracy"], int8["images"]) == (pytest.approx(int8["accuracy_f32"], abs=0.1), 20)

    again = sealed.run(
        "models", "quantize", model, "--data", held_out, "-o", tmp_path / "again.pkl"
    ).stderr
    assert "in float32, on 10 images. Workers" in again
    assert (
        json.loads(sealed.run("models", "inspect", tmp_path / "again.pkl").stdout)["int8"]["images"]
        == 10
    )

    twice = sealed.run("models", "quantize", model, "--data", held_out, "-o", model, exit_code=2)
    assert "already exists. Choose another file" in twice.stderr


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGINT])
def test_a_training_that_is_stopped_resumes_when_it_is_run_again(
    embedded: Deployment, faces: Path, tmp_path: Path, signal_number: signal.Signals
) -> None:
    history = tmp_path / "run" / "model1" / "history.json"
    command = [
        "train",
        "--data",
        str(faces),
        "--candidates",
        "model1",
        "--run-dir",
        str(tmp_path / "run"),
    ]

    process = subprocess.Popen([*CUEMILL, *command], env=embedded.variables, start_new_session=True)
    wait_until(lambda: epochs_done(history) >= 2, "two epochs")
    process.send_signal(signal_number)

    code = process.wait(patience(60))
    before = json.loads(history.read_text())["epochs"]
    model = tmp_path / "run" / "Model1_trained.pkl"
    if signal_number is signal.SIGINT:  # The signal may come late, when the training has ended.
        assert code == 130
        assert model.exists()
    else:
        assert not model.exists()

    embedded.run(*command)
    after = json.loads(history.read_text())["epochs"]
    assert after[: len(before)] == before
    assert len(after) >= len(before)
    assert model.exists()


def start_training(either: Deployment, faces: Path, **more: Any) -> tuple[httpx.Client, str]:
    """Returns the API, and the location of a training that it has queued."""
    client = either.serve(faces.parent)
    body = {"data": [str(faces)], "candidates": ["model1"], **more}
    return client, client.post("/v1/trainings", json=body).headers["Location"]


def test_a_training_over_http_ends_in_a_release_that_new_jobs_use_once_promoted(
    either: Deployment, faces: Path, tmp_path: Path
) -> None:
    client, location = start_training(either, faces)
    either.start("worker")
    before = client.post(
        "/v1/jobs", json={"folder": str(make_faces(faces.parent / "new", 20))}
    ).json()

    either.start("worker", "--queue", "training")
    wait_until(
        lambda: client.get(location).json()["status"] in ("completed", "failed"),
        "the training to end",
        120,
    )

    training = client.get(location).json()
    assert training["status"] == "completed", training["error"]
    assert [epoch["epoch"] for epoch in training["history"]] == list(
        range(1, len(training["history"]) + 1)
    )
    assert len(training["history"]) == training["comparison"][0]["epochs"]

    client.post(f"/v1/models/{training['model_release_id']}/promote")
    after = client.post("/v1/jobs", json={"folder": str(faces.parent / "new")}).json()
    wait_until(
        lambda: all(
            client.get(f"/v1/jobs/{job['id']}").json()["status"] == "completed"
            for job in (before, after)
        ),
        "both jobs to complete",
    )

    models = [
        client.get(f"/v1/jobs/{job['id']}/results").json()["data"][0]["model"]
        for job in (before, after)
    ]
    assert models == ["tiny", "Model1"]
    audit(either.database(), after["id"], 20)

    assert "* Model1" in " ".join(either.run("models", "list").stdout.split())
    either.run("models", "promote", "tiny")
    assert client.post("/v1/jobs", json={"folder": str(faces)}).json()["model"] == "tiny"


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM])
def test_a_training_whose_worker_ends_is_resumed_by_the_next(
    either: Deployment, faces: Path, signal_number: signal.Signals
) -> None:
    client, location = start_training(either, faces, candidates=["model3", "model1"])
    lost = either.start("worker", "--queue", "training")
    wait_until(lambda: client.get(location).json()["history"], "an epoch", 120)

    lost.send_signal(signal_number)
    lost.wait(patience(60))
    before = client.get(location).json()
    assert before["status"] == ("running" if signal_number is signal.SIGKILL else "queued")

    either.start("worker", "--queue", "training")
    wait_until(
        lambda: len(client.get(location).json()["history"]) > len(before["history"]),
        "another epoch",
        120,
    )

    after = client.get(location).json()
    assert after["history"][: len(before["history"])] == before["history"]
    assert client.post(f"{location}/cancel").json()["status"] == "cancelled"


def test_a_cancelled_training_leaves_its_worker_free_for_the_next(
    either: Deployment, faces: Path
) -> None:
    client, location = start_training(either, faces, candidates=["model3"])
    either.start("worker", "--queue", "training")
    wait_until(
        lambda: client.get(location).json()["candidate"] == "model3", "the candidate to begin", 120
    )

    client.post(f"{location}/cancel")
    client.post("/v1/trainings", json={"data": [str(faces.parent)]})
    (faces.parent / "sad").mkdir(exist_ok=True)
    wait_until(
        lambda: client.get("/v1/trainings").json()["data"][0]["status"] == "failed",
        "the next",
        120,
    )

    newest, cancelled = client.get("/v1/trainings").json()["data"]
    assert cancelled["status"] == "cancelled"
    assert newest["error"]["code"] == "data"
    assert "is not named after a label" in newest["error"]["message"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train", "--data", "nowhere"], 1, "nowhere is not a folder"),
        (
            ["train", "--data", "FACES", "--candidates", "model9"],
            2,
            "Unknown candidate 'model9'. Candidates: model1, model2",
        ),
        (
            ["train", "--data", "FACES", "--candidates", "model2", "--weights", "absent.h5"],
            1,
            "--weights none",
        ),
        (["evaluate", "NoModel", "--data", "FACES"], 2, "neither a file nor a known release"),
        (
            ["dataset", "build", "out", "--data", "FACES", "--prefix", "a/b"],
            2,
            "Invalid --prefix",
        ),
    ],
)
def test_a_training_that_cannot_start_is_one_sentence(
    embedded: Deployment, faces: Path, arguments: list[str], code: int, message: str
) -> None:
    done = embedded.run(
        *[str(faces) if word == "FACES" else word for word in arguments], exit_code=code
    )
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_pickle_from_elsewhere_is_imported_and_classifies(
    embedded: Deployment, tmp_path: Path
) -> None:
    pickle = Path(__file__).parents[1] / "trainer" / "keras_import" / "fixtures" / "windows211.pkl"

    imported = embedded.json("models", "import", pickle, "-o", tmp_path / "reference.pkl")
    assert imported["preprocessing"]["channel_order"] == "bgr"
    assert imported["data"]["imported"]["keras"] == "2.11.0"
    assert "unknown" in embedded.run("models", "list").stdout

    done = embedded.run(
        "classify", make_faces(tmp_path / "new", 3), "--model", "windows211", "--format", "jsonl"
    )
    assert {json.loads(line)["model"] for line in done.stdout.splitlines()} == {"windows211"}

    again = embedded.run("models", "import", pickle, "-o", tmp_path / "reference.pkl", exit_code=2)
    assert "already exists. Choose another file" in again.stderr

    (tmp_path / "evil.pkl").write_bytes(b"cos\nsystem\n(S'touch executed'\ntR.")
    refused = embedded.run("models", "import", tmp_path / "evil.pkl", exit_code=1)
    assert "evil.pkl is refused: it asks for os.system" in refused.stderr
