"""Fitting: learning, patience, seeds, frozen layers, precision and normalization."""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.errors import DataError
from tests.trainer.small_runs import (
    FULL,
    QUICK,
    TINY,
    Recorder,
    dark_and_light,
    histories_agree,
    mislabelled,
    new_run,
)
from trainer import fit as fit_module
from trainer.candidates import Candidate
from trainer.fit import WeightAverage, fit, fuse_normalization
from trainer.progress import Silent


def test_a_network_learns_and_every_epoch_is_reported_and_recorded(tmp_path: Path) -> None:
    run, recorder = new_run(tmp_path), Recorder()
    fit(run, dark_and_light(0), dark_and_light(1), recorder)
    assert recorder.epochs == [1, 2, 3, 4]
    assert json.loads(run.history_file.read_text())["epochs"] == run.history
    assert set(run.history[0]) == {"loss", "accuracy", "val_loss", "val_accuracy", "seconds"}
    assert max(epoch["val_accuracy"] for epoch in run.history) > 0.9


def test_fitting_stops_when_no_epoch_is_better_for_as_long_as_the_patience(tmp_path: Path) -> None:
    run = new_run(tmp_path, replace(TINY, epochs=50, patience=2))
    fit(run, dark_and_light(0), mislabelled(), Silent())
    assert len(run.history) == run.best_epoch + 2


@pytest.mark.parametrize("candidate", [TINY, FULL])
def test_two_runs_with_one_seed_agree_and_another_seed_differs(
    tmp_path: Path, candidate: Candidate
) -> None:
    runs = [
        replace(new_run(tmp_path / str(n), candidate), seed=seed)
        for n, seed in enumerate((3, 3, 4))
    ]
    for run in runs:
        fit(run, dark_and_light(0), dark_and_light(1), Silent())
    assert histories_agree(runs[0], runs[1])
    assert not histories_agree(runs[0], runs[2])


def test_a_pretrained_network_fits_its_last_layer_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit_module, "load_pretrained", lambda model, weights: None)
    candidate = replace(TINY, pretrained=True, head_epochs=2)
    run = replace(new_run(tmp_path, candidate), weights="given")
    kernels: list[np.ndarray[Any, Any]] = []

    class Look(Silent):
        def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
            model = keras.saving.load_model(run.checkpoint(epoch))
            kernels.append(model.layers[0].get_weights()[0])

    fit(run, dark_and_light(0), dark_and_light(1), Look())
    assert (kernels[0] == kernels[1]).all()
    assert (kernels[1] != kernels[2]).any()
    assert (kernels[2] != kernels[3]).any()


def test_a_missing_metric_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.Model, "evaluate", lambda *_args, **_options: {"loss": 1.0})
    with pytest.raises(DataError, match="reported no val_accuracy for epoch 1"):
        fit(new_run(tmp_path), dark_and_light(0), dark_and_light(1), Silent())


@pytest.mark.parametrize("rate", [1e30, float("nan")])
def test_a_loss_that_is_not_finite_raises_and_commits_no_epoch(tmp_path: Path, rate: float) -> None:
    diverging = replace(TINY, optimizer=lambda _steps: keras.optimizers.SGD(rate))
    with pytest.raises(
        DataError, match=r"The loss of tiny became (nan|inf) in epoch 1\. Lower its learning rate"
    ):
        fit(new_run(tmp_path, diverging), dark_and_light(0), dark_and_light(1), Silent())
    assert list(tmp_path.iterdir()) == []


def test_fitting_in_bfloat16_gives_a_float32_network_and_leaves_the_policy_alone(
    tmp_path: Path,
) -> None:
    model = fit(
        new_run(tmp_path, QUICK, "mixed_bfloat16"), dark_and_light(0), dark_and_light(1), Silent()
    )
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}
    assert {str(weights.dtype) for weights in model.get_weights()} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"


def test_fused_normalization_fits_as_keras_own_does() -> None:
    images = np.random.default_rng(0).normal(3, 2, (64, 12, 12, 3)).astype(np.float32)
    fitted = []
    for fused in (False, True):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [keras.Input((12, 12, 3)), keras.layers.BatchNormalization(), keras.layers.Flatten()]
        )
        if fused:
            fuse_normalization(model)
        graph = tf.function(partial(model, training=True)).get_concrete_function(images).graph
        assert fused == any(
            operation.type.startswith("FusedBatchNorm") for operation in graph.get_operations()
        )
        model.compile("sgd", "mse", jit_compile=False)
        model.fit(images, np.zeros((64, 432)), batch_size=32, epochs=3, shuffle=False, verbose=0)
        fitted.append([*model.get_weights(), model.predict(images, verbose=0)])
    for expected, actual in zip(*fitted, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-3)


def test_a_resumed_run_normalizes_as_a_new_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = []
    normalize = fit_module._normalize

    def counted(*arguments: Any, **options: Any) -> Any:
        used.append(True)
        return normalize(*arguments, **options)

    monkeypatch.setattr(fit_module, "_normalize", counted)
    for epochs in (1, 2):
        fit(
            new_run(tmp_path, replace(TINY, epochs=epochs)),
            dark_and_light(0),
            dark_and_light(1),
            Silent(),
        )
        assert used
        used.clear()


def test_the_average_of_weights_forgets_the_start_soon_and_lags_later() -> None:
    average = WeightAverage([np.zeros(1, np.float32)], decay=0.9)
    average.add([np.ones(1, np.float32)], batch=8)  # Of an early batch all but 8 / (8 + 80) counts.
    assert average.weights[0] == pytest.approx(1 - 1 / 11)
    average.add([np.zeros(1, np.float32)], batch=10_000)
    assert average.weights[0] == pytest.approx((1 - 1 / 11) * 0.9**8)
