"""Fitting: what is kept after each epoch, and that a killed run goes on as if nothing had happened."""

import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from models.errors import DataError
from models.pictures.preprocessing import Preprocessing
from trainer import fit as fit_module
from trainer.augment import Augmentation
from trainer.candidates import Candidate, Shape
from trainer.datasets.dataset import Dataset
from trainer.fit import Run, _Average, _Batches, fit, fuse_normalization
from trainer.progress import Silent
from trainer.quality.evaluation import measure, predict_all

SIZE = Preprocessing(height=8, width=8)


def build(input_shape: Shape, num_classes: int) -> keras.Model:
    """Every kind of state that a checkpoint must keep: weights, moving statistics, optimizer, dropout's seed."""
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(num_classes, activation="softmax", dtype="float32"),
        ],
        name="tiny",
    )


TINY = Candidate(
    "tiny", build, lambda _steps: keras.optimizers.Adam(1e-2), epochs=4, patience=4, batch_size=16
)
QUICK = replace(TINY, epochs=1)
FULL = replace(
    TINY,
    optimizer=lambda steps: keras.optimizers.SGD(
        keras.optimizers.schedules.CosineDecay(
            0.01, 3 * steps, warmup_target=0.05, warmup_steps=steps
        )
    ),
    augmentation=Augmentation(),
    label_smoothing=0.1,
    averaging=0.9,
)
"""With all that a recipe can ask for."""


def dark_and_light(seed: int, count: int = 64) -> Dataset:
    """Noise that is darker for label 0 and lighter for label 1: easy to learn."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    images = random.integers(0, 150, (count, 8, 8, 3)) + 100 * labels[:, None, None, None]
    return Dataset(images.astype(np.uint8), labels.astype(np.int64), "noise")


def mislabelled() -> Dataset:
    """The more a network learns from `dark_and_light`, the worse it does here."""
    data = dark_and_light(2)
    return replace(data, labels=1 - data.labels)


def new_run(folder: Path, candidate: Candidate = TINY, policy: str = "float32") -> Run:
    return Run(folder, candidate, SIZE, policy=policy)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that nothing interrupted."""
    run = new_run(tmp_path_factory.mktemp("whole"))
    fit(run, dark_and_light(0), dark_and_light(1), Silent())
    return run


class Killed(BaseException):
    """Stands for kill -9: nothing handles it."""


class KilledInEpoch(Silent):
    """Strikes in the middle of an epoch."""

    def __init__(self, epoch: int, strike: Callable[[], None]) -> None:
        self._epoch = epoch
        self._strike = strike

    def batch(self, epoch: int, done: int, total: int) -> None:
        if (epoch, done) == (self._epoch, 2):
            self._strike()


class Recorder(Silent):
    def __init__(self) -> None:
        self.epochs: list[int] = []

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        self.epochs.append(epoch)


def strike() -> None:
    raise Killed


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fit_until_killed(folder: Path) -> None:
    """The whole life of a process that is killed in its third epoch."""
    fit(new_run(folder), dark_and_light(0), dark_and_light(1), KilledInEpoch(3, kill_self))


def histories_agree(first: Run, second: Run) -> bool:
    """But for the time they took."""
    return len(first.history) == len(second.history) and all(
        {**one, "seconds": 0} == pytest.approx({**other, "seconds": 0}, rel=1e-4)
        for one, other in zip(first.history, second.history, strict=True)
    )


def test_a_network_learns_and_every_epoch_is_told_and_written_down(tmp_path: Path) -> None:
    run, recorder = new_run(tmp_path), Recorder()
    fit(run, dark_and_light(0), dark_and_light(1), recorder)
    assert recorder.epochs == [1, 2, 3, 4]
    assert json.loads(run.history_file.read_text())["epochs"] == run.history
    assert set(run.history[0]) == {"loss", "accuracy", "val_loss", "val_accuracy", "seconds"}
    assert max(epoch["val_accuracy"] for epoch in run.history) > 0.9


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


def test_the_best_epochs_weights_come_back_not_the_last_ones(tmp_path: Path) -> None:
    run, held_out = new_run(tmp_path), mislabelled()
    model = fit(run, dark_and_light(0), held_out, Silent())
    loss = measure(predict_all(model.predict_on_batch, held_out, SIZE), held_out.labels)["loss"]
    assert loss == pytest.approx(run.history[run.best_epoch - 1]["val_loss"], rel=1e-3)
    assert loss != pytest.approx(run.history[-1]["val_loss"], rel=1e-2)


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


def test_a_run_with_schedule_augmentation_and_averaging_goes_on_as_if_never_killed(
    tmp_path: Path,
) -> None:
    unbroken, killed = new_run(tmp_path / "unbroken", FULL), new_run(tmp_path / "killed", FULL)
    fit(unbroken, dark_and_light(0), dark_and_light(1), Silent())
    with pytest.raises(Killed):
        fit(killed, dark_and_light(0), dark_and_light(1), KilledInEpoch(3, strike))
    resumed = new_run(tmp_path / "killed", FULL)
    fit(resumed, dark_and_light(0), dark_and_light(1), Silent())
    assert histories_agree(resumed, unbroken)


def test_small_faces_first_and_whole_ones_at_the_end(tmp_path: Path) -> None:
    sides: list[int] = []

    def watched(input_shape: Shape, num_classes: int) -> keras.Model:
        """Notes the sizes it is called with; a function is traced anew for each."""
        if input_shape[0] is None:
            sides.append(0)
        inputs = keras.Input(input_shape)
        x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu")(inputs))
        return keras.Model(
            inputs, layers.Dense(num_classes, activation="softmax", dtype="float32")(x), name="tiny"
        )

    candidate = replace(FULL, build=watched, augmentation=Augmentation(sizes=((0.5, 6),)))
    run = new_run(tmp_path, candidate)
    fit(run, dark_and_light(0), dark_and_light(1), Silent())
    assert len(run.history) == 4
    assert sides == [0]
    batches = [_Batches(dark_and_light(0), run, epoch)[0][0].shape for epoch in (1, 2, 3, 4)]
    assert batches == [(16, 6, 6, 3)] * 2 + [(16, 8, 8, 3)] * 2


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


def test_soft_targets_are_fitted_to_as_they_are(tmp_path: Path) -> None:
    soft = np.zeros((64, 28), np.float32)
    soft[:, :2] = 0.25, 0.75
    run = new_run(tmp_path, replace(FULL, augmentation=None))
    _, targets = _Batches(replace(dark_and_light(0), soft=soft), run, epoch=1)[0]
    assert (targets == soft[:16]).all()
    _, smoothed = _Batches(dark_and_light(0), run, epoch=1)[0]
    assert sorted(smoothed[0])[-2:] == pytest.approx([0.05, 0.95])


def test_a_metric_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.Model, "evaluate", lambda *_args, **_options: {"loss": 1.0})
    with pytest.raises(DataError, match="gave no val_accuracy for epoch 1"):
        fit(new_run(tmp_path), dark_and_light(0), dark_and_light(1), Silent())


def test_a_run_killed_within_an_epoch_goes_on_from_the_epoch_before(
    tmp_path: Path, whole: Run
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
    assert histories_agree(resumed, whole)


@pytest.mark.parametrize(
    ("function", "epochs_left"), [("os.replace", [2, 3, 4]), ("pathlib.Path.unlink", [3, 4])]
)
def test_a_run_killed_while_it_keeps_an_epoch_goes_on_consistently(
    tmp_path: Path,
    whole: Run,
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
    assert histories_agree(resumed, whole)


def test_a_process_killed_by_the_system_leaves_a_run_that_goes_on(
    tmp_path: Path, whole: Run
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
    assert histories_agree(resumed, whole)


def test_a_finished_run_is_not_fitted_again(tmp_path: Path) -> None:
    first = fit(new_run(tmp_path, QUICK), dark_and_light(0), dark_and_light(1), Silent())
    recorder = Recorder()
    second = fit(new_run(tmp_path, QUICK), dark_and_light(0), dark_and_light(1), recorder)
    assert recorder.epochs == []
    assert all(
        (a == b).all() for a, b in zip(first.get_weights(), second.get_weights(), strict=True)
    )


@pytest.mark.parametrize("rate", [1e30, float("nan")])
def test_a_loss_that_is_no_number_raises_and_keeps_no_epoch(tmp_path: Path, rate: float) -> None:
    diverging = replace(TINY, optimizer=lambda _steps: keras.optimizers.SGD(rate))
    with pytest.raises(
        DataError, match=r"The loss of tiny became (nan|inf) in epoch 1\. Lower its learning rate"
    ):
        fit(new_run(tmp_path, diverging), dark_and_light(0), dark_and_light(1), Silent())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    fit(new_run(tmp_path, QUICK), dark_and_light(0), dark_and_light(1), Silent())
    with pytest.raises(DataError, match="holds a run with other seed, train; give another folder"):
        fit(
            replace(new_run(tmp_path, QUICK), seed=7),
            dark_and_light(0, count=32),
            dark_and_light(1),
            Silent(),
        )


@pytest.mark.parametrize("content", ["{", "[]", "{}", '[{"loss": 1.0}]'])
def test_a_history_that_is_not_ours_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "history.json").write_text(content)
    with pytest.raises(DataError, match=r"history\.json is no history of ours"):
        fit(new_run(tmp_path), dark_and_light(0), dark_and_light(1), Silent())


def test_a_checkpoint_that_was_removed_is_named(tmp_path: Path) -> None:
    run = new_run(tmp_path, QUICK)
    fit(run, dark_and_light(0), dark_and_light(1), Silent())
    run.checkpoint(1).unlink()
    with pytest.raises(DataError, match=r"lacks epoch-01\.keras; put it back"):
        fit(new_run(tmp_path, QUICK), dark_and_light(0), dark_and_light(1), Silent())


def test_fitting_in_bfloat16_gives_a_float32_network_and_leaves_the_policy_alone(
    tmp_path: Path,
) -> None:
    model = fit(
        new_run(tmp_path, QUICK, "mixed_bfloat16"), dark_and_light(0), dark_and_light(1), Silent()
    )
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}
    assert {str(weights.dtype) for weights in model.get_weights()} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"


def test_a_resumed_run_keeps_the_precision_it_was_begun_in(tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    ("gains", "depthwise", "policy"),
    [(True, False, "mixed_bfloat16"), (True, True, "float32"), (False, False, "float32")],
)
def test_the_precision_follows_processor_and_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gains: bool, depthwise: bool, policy: str
) -> None:
    monkeypatch.setattr(fit_module, "gains_by_bf16", lambda: gains)
    assert Run(tmp_path, replace(TINY, pretrained=depthwise), SIZE).policy == policy


@pytest.mark.parametrize(
    ("capability", "policy"), [((9, 0), "mixed_bfloat16"), ((7, 5), "float32")]
)
def test_the_precision_follows_the_gpu_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capability: tuple[int, int], policy: str
) -> None:
    """This machine need not have one: what TensorFlow says of it is made up."""
    monkeypatch.setattr(fit_module, "gains_by_bf16", lambda: False)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    monkeypatch.setattr(
        tf.config.experimental,
        "get_device_details",
        lambda _gpu: {"compute_capability": capability},
    )
    assert Run(tmp_path, TINY, SIZE).policy == policy


def test_layers_are_named_alike_however_often_a_process_fits(tmp_path: Path) -> None:
    models = [
        fit(new_run(tmp_path / name, QUICK), dark_and_light(0), dark_and_light(1), Silent())
        for name in ("first", "second")
    ]
    names = [[layer.name for layer in model.layers] for model in models]
    assert names[0] == names[1] == ["conv2d", "batch_normalization", "flatten", "dropout", "dense"]


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
    for own, ours in zip(*fitted, strict=True):
        np.testing.assert_allclose(ours, own, rtol=1e-3, atol=1e-3)


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
    average = _Average([np.zeros(1, np.float32)], decay=0.9)
    average.add([np.ones(1, np.float32)], batch=8)  # Of an early batch all but 8 / (8 + 80) counts.
    assert average.weights[0] == pytest.approx(1 - 1 / 11)
    average.add([np.zeros(1, np.float32)], batch=10_000)
    assert average.weights[0] == pytest.approx((1 - 1 / 11) * 0.9**8)
