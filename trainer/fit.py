"""Fitting one candidate, epoch by epoch. Each epoch is committed to the run's folder."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

from models.errors import DataError
from trainer.batches import Batches
from trainer.candidates import load_pretrained, start_from
from trainer.datasets.dataset import Dataset
from trainer.progress import Progress
from trainer.run import Run

METRICS: Final = ("loss", "accuracy", "val_loss", "val_accuracy")


def fit(run: Run, train: Dataset, validation: Dataset, progress: Progress) -> keras.Model:
    """Fits until the candidate's epochs or patience run out, resuming from the run's folder.

    Args:
        progress: notified of each batch, and of each epoch once it is committed.

    Returns:
        The network with the weights of the best epoch, in float32.

    Raises:
        DataError: the loss became NaN or infinite, or the folder holds a different run.
    """
    description = run.describe(train, validation)
    run.folder.mkdir(parents=True, exist_ok=True)
    run.resume(description)

    with _global_policy(run.policy):
        if not run.finished:
            model, validated = _start(run, train)
            held_out = Batches(validation, run)

        while not run.finished:
            metrics = _fit_epoch(model, validated, run, train, held_out, progress)
            run.commit(model, validated, metrics, description)
            progress.epoch(len(run.history), metrics)

    return run.load_best()


@contextmanager
def _global_policy(name: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


# --- Before the first epoch, or the first after an interruption ---


def _start(run: Run, train: Dataset) -> tuple[keras.Model, keras.Model]:
    """The network to fit, and the one whose weights are validated: itself, or its average."""
    keras.utils.set_random_seed(run.seed)
    if run.history:
        model = keras.saving.load_model(run.checkpoint(len(run.history)))
        fuse_normalization(model)
    else:
        model = _build(run, train)

    if not run.candidate.averaging:
        return model, model

    average = run.build()
    _compile(average)
    if run.history:
        average.load_weights(run.validated_weights(len(run.history)))
    else:
        average.set_weights(model.get_weights())
    return model, average


def _build(run: Run, train: Dataset) -> keras.Model:
    """A new network, compiled for the first epoch."""
    augmentation = run.candidate.augmentation
    model = run.build(any_size=augmentation is not None and bool(augmentation.sizes))
    if run.candidate.pretrained:
        load_pretrained(model, run.weights)
    if run.start:
        start_from(model, run.start)

    if _fits_head_only(run, epoch=1):
        for layer in model.layers[:-1]:
            layer.trainable = False
        _compile(model, keras.optimizers.Adam(1e-3))
    else:
        steps = len(Batches(train, run, epoch=1))
        _compile(model, run.candidate.optimizer(steps))
    return model


def _fits_head_only(run: Run, epoch: int) -> bool:
    """Whether an epoch fits only the last layer, because the others are pretrained."""
    return run.weights != "none" and epoch <= run.candidate.head_epochs


def _compile(model: keras.Model, optimizer: keras.Optimizer | None = None) -> None:
    fuse_normalization(model)
    model.compile(
        optimizer or "sgd", "categorical_crossentropy", metrics=["accuracy"], jit_compile=False
    )


# --- One epoch ---


def _fit_epoch(
    model: keras.Model,
    validated: keras.Model,
    run: Run,
    train: Dataset,
    held_out: Batches,
    progress: Progress,
) -> dict[str, float]:
    """Fits and validates once; returns the metrics."""
    began = time.monotonic()
    epoch = len(run.history) + 1
    batches = Batches(train, run, epoch)

    if epoch > 1 and _fits_head_only(run, epoch - 1) and not _fits_head_only(run, epoch):
        for layer in model.layers:
            layer.trainable = True
        _compile(model, run.candidate.optimizer(len(batches)))

    average = None
    if validated is not model:
        average = WeightAverage(validated.get_weights(), run.candidate.averaging)

    callback = _EpochCallback(run, epoch, len(batches), average, progress)
    # `Batches` shuffles already. With shuffle=True, Keras would warn that it cannot.
    fitted = model.fit(batches, shuffle=False, verbose=0, callbacks=[callback]).history
    if average:
        validated.set_weights(average.weights)
    measured = validated.evaluate(held_out, verbose=0, return_dict=True)

    metrics = {name: float(values[-1]) for name, values in fitted.items()}
    metrics |= {f"val_{name}": float(value) for name, value in measured.items()}
    missing = [name for name in METRICS if name not in metrics]
    if missing:
        raise DataError(
            f"Keras reported no {', '.join(missing)} for epoch {epoch}, only {', '.join(metrics)}."
        )
    _check_loss(metrics["val_loss"], run, epoch)
    return {**metrics, "seconds": round(time.monotonic() - began, 1)}


class _EpochCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Seeds dropout; after each batch, checks the loss and updates the average and progress."""

    def __init__(
        self,
        run: Run,
        epoch: int,
        batches: int,
        average: "WeightAverage | None",
        progress: Progress,
    ) -> None:
        super().__init__()
        self._run = run
        self._epoch = epoch
        self._batches = batches
        self._average = average
        self._progress = progress

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        # Not earlier: before it begins, Keras runs a network that is new to it once, with dropout.
        _seed_dropout(self.model, (self._run.seed, self._epoch))

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float]) -> None:
        _check_loss(logs["loss"], self._run, self._epoch)

        done = batch + 1
        if self._average and (done % WeightAverage.INTERVAL == 0 or done == self._batches):
            earlier = (self._epoch - 1) * self._batches
            self._average.add(self.model.get_weights(), earlier + done)
        self._progress.batch(self._epoch, done, self._batches)


class WeightAverage:
    """An exponential moving average of a network's weights and moving statistics."""

    INTERVAL: Final = 8
    """Batches between two additions, because each addition copies all weights."""

    def __init__(self, weights: Sequence[NDArray[np.float32]], decay: float) -> None:
        self.weights = list(weights)
        self._decay = decay**self.INTERVAL

    def add(self, weights: Sequence[NDArray[np.float32]], batch: int) -> None:
        """Adds the weights after the run's n-th batch.

        Early in a run the decay is lower, or the average would hold on to the random start.
        """
        decay = min(self._decay, batch / (batch + 10 * self.INTERVAL))
        for index, new in enumerate(weights):
            self.weights[index] = self.weights[index] * decay + new * (1 - decay)


def _seed_dropout(model: keras.Model, seed: tuple[int, int]) -> None:
    """Seeds dropout for an epoch, since a checkpoint does not hold the state of its generator."""
    random = np.random.default_rng(seed)
    for variable in model.variables:
        if variable.name == "seed_generator_state":
            variable.assign(random.integers(0, 2**31, variable.shape).astype(variable.dtype))

    # On PyTorch, Keras' dropout draws from PyTorch's global generator instead.
    keras.utils.set_random_seed(int(random.integers(0, 2**31)))


def _check_loss(loss: float, run: Run, epoch: int) -> None:
    if not np.isfinite(loss):
        raise DataError(
            f"The loss of {run.candidate.name} became {loss} in epoch {epoch}. Lower its learning "
            f"rate, or train without it. Completed epochs are kept in {run.folder.parent}."
        )


# --- Batch normalization ---


def fuse_normalization(model: keras.Model) -> None:
    """Makes batch normalization use TensorFlow's fused operation, which is faster in training.

    `benchmarks/fit.py` measures the gain. Saved models do not change. In training only the moving
    variance differs: it divides by n - 1 instead of n, the number of positions in a batch, which
    is tens of thousands.
    """
    if keras.backend.backend() != "tensorflow":
        return
    for layer in model.layers:
        if type(layer) is keras.layers.BatchNormalization:
            layer.call = partial(_normalize, layer, layer.call)


def _normalize(
    layer: keras.layers.BatchNormalization,
    original_call: Callable[..., Any],
    inputs: Any,
    training: bool | None = None,
    mask: Any = None,
) -> Any:
    if mask is not None or not (training and layer.trainable):
        return original_call(inputs, training=training, mask=mask)
    import tensorflow as tf

    outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
        inputs, layer.gamma, layer.beta, epsilon=layer.epsilon, is_training=True
    )
    _update_moving(layer.moving_mean, mean, layer.momentum)
    _update_moving(layer.moving_variance, variance, layer.momentum)
    return outputs


def _update_moving(statistic: Any, value: Any, momentum: float) -> None:
    statistic.assign(statistic * momentum + value * (1 - momentum))
