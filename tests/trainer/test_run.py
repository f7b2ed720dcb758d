"""A run's folder: what each epoch leaves there, and how a killed run resumes."""

import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from models.errors import DataError
from tests.trainer.small_runs import (
    FULL,
    QUICK,
    SIZE,
    TINY,
    Killed,
    KilledInEpoch,
    Recorder,
    dark_and_light,
    fit_until_killed,
    histories_agree,
    mislabelled,
    new_run,
    strike,
)
from trainer import run as run_module
from trainer.fit import fit
from trainer.progress import Silent
from trainer.quality.evaluation import measure, predict_all
from trainer.run import Run


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that nothing interrupted."""
    run = new_run(tmp_path_factory.mktemp("uninterrupted"))
    fit(run, dark_and_light(0), dark_and_light(1), Silent())
    return run


def test_only_the_last_and_the_best_epoch_are_kept(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    fit(run, dark_and_light(0), mislabelled(), Silent())
    assert run.best_epoch < 4
    kept = {
        "history.json",
        "epoch-04.keras",
        "epoch-04.weights.h5",
        f"epoch-{run.best_epoch:02}.weights.h5",
    }
    assert {path.name for path in tmp_path.iterdir()} == kept


def test_the_best_epochs_weights_are_returned_and_not_the_last_ones(tmp_path: Path) -> None:
    run, held_out = new_run(tmp_path), mislabelled()
    model = fit(run, dark_and_light(0), held_out, Silent())
    loss = measure(predict_all(model.predict_on_batch, held_out, SIZE), held_out.labels)["loss"]
    assert loss == pytest.approx(run.history[run.best_epoch - 1]["val_loss"], rel=1e-3)
    assert loss != pytest.approx(run.history[-1]["val_loss"], rel=1e-2)


def test_a_run_killed_within_an_epoch_resumes_after_the_epoch_before(
    tmp_path: Path, uninterrupted: Run
) -> None:
    with pytest.raises(Killed):
        fit(
            new_run(tmp_path / "killed"),
            dark_and_light(0),
            dark_and_light(1),
            KilledInEpoch(3, strike),
        )
    resumed, recorder = new_run(tmp_path / "killed"), Recorder()
    fit(resumed, dark_and_light(0), dark_and_light(1), recorder)
    assert recorder.epochs == [3, 4]
    assert histories_agree(resumed, uninterrupted)


def test_a_killed_run_with_schedule_augmentation_and_averaging_resumes_as_if_never_killed(
    tmp_path: Path,
) -> None:
    unbroken, killed = new_run(tmp_path / "unbroken", FULL), new_run(tmp_path / "killed", FULL)
    fit(unbroken, dark_and_light(0), dark_and_light(1), Silent())
    with pytest.raises(Killed):
        fit(killed, dark_and_light(0), dark_and_light(1), KilledInEpoch(3, strike))
    resumed = new_run(tmp_path / "killed", FULL)
    fit(resumed, dark_and_light(0), dark_and_light(1), Silent())
    assert histories_agree(resumed, unbroken)


@pytest.mark.parametrize(
    ("function", "epochs_left"), [("os.replace", [2, 3, 4]), ("pathlib.Path.unlink", [3, 4])]
)
def test_a_run_killed_while_it_commits_an_epoch_resumes_consistently(
    tmp_path: Path,
    uninterrupted: Run,
    monkeypatch: pytest.MonkeyPatch,
    function: str,
    epochs_left: list[int],
) -> None:
    calls: list[object] = []
    replace_file = os.replace

    def killed(*paths: Any) -> None:
        calls.append(paths)
        if function == "pathlib.Path.unlink" or len(calls) == 2:
            raise Killed
        replace_file(*paths)

    with monkeypatch.context() as patch:
        patch.setattr(function, killed)
        with pytest.raises(Killed):
            fit(new_run(tmp_path / "killed"), dark_and_light(0), dark_and_light(1), Silent())
    resumed, recorder = new_run(tmp_path / "killed"), Recorder()
    fit(resumed, dark_and_light(0), dark_and_light(1), recorder)
    assert recorder.epochs == epochs_left
    assert histories_agree(resumed, uninterrupted)


def test_a_process_killed_by_the_system_leaves_a_run_that_resumes(
    tmp_path: Path, uninterrupted: Run
) -> None:
    child = multiprocessing.get_context("spawn").Process(
        target=fit_until_killed, args=(tmp_path / "killed",)
    )
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    resumed, recorder = new_run(tmp_path / "killed"), Recorder()
    fit(resumed, dark_and_light(0), dark_and_light(1), recorder)
    assert recorder.epochs == [3, 4]
    assert histories_agree(resumed, uninterrupted)


def test_a_finished_run_is_not_fitted_again(tmp_path: Path) -> None:
    first = fit(new_run(tmp_path, QUICK), dark_and_light(0), dark_and_light(1), Silent())
    recorder = Recorder()
    second = fit(new_run(tmp_path, QUICK), dark_and_light(0), dark_and_light(1), recorder)
    assert recorder.epochs == []
    assert all(
        (a == b).all() for a, b in zip(first.get_weights(), second.get_weights(), strict=True)
    )


def test_a_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    fit(new_run(tmp_path, QUICK), dark_and_light(0), dark_and_light(1), Silent())
    with pytest.raises(
        DataError, match=r"holds a run with a different seed, train\. Use another folder"
    ):
        fit(
            replace(new_run(tmp_path, QUICK), seed=7),
            dark_and_light(0, count=32),
            dark_and_light(1),
            Silent(),
        )


@pytest.mark.parametrize("content", ["{", "[]", "{}", '[{"loss": 1.0}]'])
def test_a_file_that_is_not_a_history_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "history.json").write_text(content)
    with pytest.raises(DataError, match=r"history\.json is not a training history"):
        fit(new_run(tmp_path), dark_and_light(0), dark_and_light(1), Silent())


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    run = new_run(tmp_path, QUICK)
    fit(run, dark_and_light(0), dark_and_light(1), Silent())
    run.checkpoint(1).unlink()
    with pytest.raises(DataError, match=r"lacks epoch-01\.keras\. Restore the files"):
        fit(new_run(tmp_path, QUICK), dark_and_light(0), dark_and_light(1), Silent())


def test_a_resumed_run_keeps_the_precision_it_started_with(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        fit(
            new_run(tmp_path, policy="mixed_bfloat16"),
            dark_and_light(0),
            dark_and_light(1),
            KilledInEpoch(2, strike),
        )
    resumed = new_run(tmp_path, policy="float32")
    fit(resumed, dark_and_light(0), dark_and_light(1), Silent())
    assert resumed.policy == "mixed_bfloat16"


def test_layers_get_the_same_names_however_often_a_process_fits(tmp_path: Path) -> None:
    models = [
        fit(new_run(tmp_path / name, QUICK), dark_and_light(0), dark_and_light(1), Silent())
        for name in ("first", "second")
    ]
    names = [[layer.name for layer in model.layers] for model in models]
    assert names[0] == names[1] == ["conv2d", "batch_normalization", "flatten", "dropout", "dense"]


@pytest.mark.parametrize(
    ("gains", "depthwise", "policy"),
    [(True, False, "mixed_bfloat16"), (True, True, "float32"), (False, False, "float32")],
)
def test_the_precision_follows_processor_and_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gains: bool, depthwise: bool, policy: str
) -> None:
    monkeypatch.setattr(run_module, "gains_by_bf16", lambda: gains)
    assert Run(tmp_path, replace(TINY, pretrained=depthwise), SIZE).policy == policy


@pytest.mark.parametrize(
    ("capability", "policy"), [((9, 0), "mixed_bfloat16"), ((7, 5), "float32")]
)
def test_the_precision_follows_the_gpu_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capability: tuple[int, int], policy: str
) -> None:
    """With a simulated GPU, since this machine may have none."""
    monkeypatch.setattr(run_module, "gains_by_bf16", lambda: False)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    monkeypatch.setattr(
        tf.config.experimental,
        "get_device_details",
        lambda _gpu: {"compute_capability": capability},
    )
    assert Run(tmp_path, TINY, SIZE).policy == policy
