"""Fitting one candidate: epoch by epoch, with a checkpoint after each, so that running again goes on.

A run's folder holds `epoch-NN.keras` (network and optimizer) of the last epoch, `epoch-NN.weights.h5` (the weights that
were validated, averaged if the candidate says so) of the last and of the best, and `history.json`, which says which
epochs are done. It is replaced last, in one step: an epoch that it doesn't name never was.
"""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

from models.atomic import write_atomically
from models.cpu import gains_by_bf16
from models.errors import DataError
from models.labels import EMOTIONS
from models.pictures.preprocessing import Preprocessing
from models.release.release import Release
from trainer.augment import mix
from trainer.candidates import Candidate, load_pretrained, start_from
from trainer.datasets.dataset import Dataset
from trainer.progress import Progress

METRICS: Final = ("loss", "accuracy", "val_loss", "val_accuracy")


def best_policy(candidate: Candidate) -> str:
    """bfloat16 arithmetic where GPU or processor, and network, gain by it: twice the speed (`benchmarks/fit.py`)."""
    # Not MobileNetV2, whose depthwise convolutions are three times slower in it.
    return (
        "mixed_bfloat16"
        if (_gpu_gains_by_bf16() or gains_by_bf16()) and not candidate.pretrained
        else "float32"
    )


def _gpu_gains_by_bf16() -> bool:
    """NVIDIA's have bfloat16 since compute capability 8.0 (Ampere)."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    details = [
        tf.config.experimental.get_device_details(gpu)
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    return any(found.get("compute_capability", (0, 0)) >= (8, 0) for found in details)


@dataclass
class Run:
    """One candidate's fit and the folder it is kept in.

    Attributes:
        weights: what pretrained layers begin with: `imagenet` (fetched by Keras), `none`, or a file of Keras' for them.
        start: a release of the same network, whose weights the first epoch begins with; none = new ones.
        teachers: the digests of the releases that soft targets are of.
        policy: Keras' precision policy while fitting; empty = the fastest.
        history: for each epoch done, its metrics: `loss`, `accuracy`, `val_loss`, `val_accuracy`, and its `seconds`.
    """

    folder: Path
    candidate: Candidate
    preprocessing: Preprocessing
    seed: int = 0
    weights: str = "none"
    start: Release | None = None
    teachers: tuple[str, ...] = ()
    policy: str = ""
    history: list[dict[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.policy = self.policy or best_policy(self.candidate)

    @property
    def best_epoch(self) -> int:
        """The epoch, counted from 1, with the highest validation accuracy; the earliest of equals."""
        return 1 + int(np.argmax([epoch["val_accuracy"] for epoch in self.history]))

    @property
    def finished(self) -> bool:
        """All epochs done, or no better one for as many as the candidate's patience."""
        done = len(self.history)
        return done >= self.candidate.epochs or (
            done > 0 and done - self.best_epoch >= self.candidate.patience
        )

    @property
    def history_file(self) -> Path:
        """Which epochs are done, and of what."""
        return self.folder / "history.json"

    def checkpoint(self, epoch: int) -> Path:
        """Network and optimizer as an epoch left them."""
        return self.folder / f"epoch-{epoch:02}.keras"

    def validated(self, epoch: int) -> Path:
        """The weights that were validated after an epoch."""
        return self.folder / f"epoch-{epoch:02}.weights.h5"

    def files(self) -> set[Path]:
        """What is kept besides the history."""
        last = len(self.history)
        return {self.checkpoint(last), self.validated(last), self.validated(self.best_epoch)}

    def build(self, *, any_size: bool = False) -> keras.Model:
        """The candidate's network, new; for inputs of any size if it is fitted on several."""
        size = (None, None) if any_size else (self.preprocessing.height, self.preprocessing.width)
        return self.candidate.build((*size, 3), len(EMOTIONS))


def fit(run: Run, train: Dataset, validation: Dataset, progress: Progress) -> keras.Model:
    """Fits until the candidate's epochs or patience are used up, going on from the run's folder if it holds a start.

    Args:
        progress: told of each batch, and of each epoch once it is kept.

    Returns:
        The network with the weights of the best epoch, in float32.

    Raises:
        DataError: the loss became NaN or infinite, or the folder holds another run.
    """
    description = _describe(run, train, validation)
    run.folder.mkdir(parents=True, exist_ok=True)
    _resume(run, description)
    with _global_policy(run.policy):
        if not run.finished:
            model, validated = _start(run, train)
            held_out = _Batches(validation, run)
        while not run.finished:
            metrics = _fit_epoch(model, validated, run, train, held_out, progress)
            _commit(run, model, validated, metrics, description)
            progress.epoch(len(run.history), run.history[-1])
    return best(run)


def _describe(run: Run, train: Dataset, validation: Dataset) -> dict[str, Any]:
    """What must be the same for a run to be gone on with."""
    return {
        "candidate": run.candidate.name,
        "seed": run.seed,
        "preprocessing": run.preprocessing.to_plain(),
        "train": train.balance(),
        "validation": validation.balance(),
        "weights": run.weights if run.candidate.pretrained else "none",
        "start": run.start.sha256 if run.start else "",
        "soft": train.soft is not None,
        "teachers": list(run.teachers),
    }


def _resume(run: Run, description: dict[str, Any]) -> None:
    """Takes up the history that the run's folder holds, if it does."""
    if not run.history_file.exists():
        return
    try:
        record = {
            "teachers": [],
            **json.loads(run.history_file.read_text()),
        }  # Older ones don't name them.
        different = [key for key, value in description.items() if record[key] != value]
        run.history, run.policy = record["epochs"], record["policy"]
        kept = run.files()
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{run.history_file} is no history of ours ({error!r}); give another folder."
        ) from error
    if different:
        raise DataError(
            f"{run.folder} holds a run with other {', '.join(different)}; give another folder."
        )
    if missing := [path.name for path in sorted(kept) if not path.exists()]:
        raise DataError(
            f"{run.folder} lacks {', '.join(missing)}; put it back, or give another folder."
        )


def _start(run: Run, train: Dataset) -> tuple[keras.Model, keras.Model]:
    """The network of the last epoch, or a new one; and one for the weights that are validated."""
    keras.utils.set_random_seed(run.seed)
    any_size = run.candidate.augmentation is not None and bool(run.candidate.augmentation.sizes)
    if run.history:
        model = keras.saving.load_model(run.checkpoint(len(run.history)))
        fuse_normalization(model)
    else:
        model = run.build(any_size=any_size)
        if run.candidate.pretrained:
            load_pretrained(model, run.weights)
        if run.start:
            start_from(model, run.start)
        if _fits_head(run, epoch=1):
            for layer in model.layers[:-1]:
                layer.trainable = False
            _compile(model, keras.optimizers.Adam(1e-3))
        else:
            _compile(model, run.candidate.optimizer(len(_Batches(train, run, epoch=1))))
    if not run.candidate.averaging:
        return model, model
    average = run.build()
    _compile(average)
    if run.history:
        average.load_weights(run.validated(len(run.history)))
    else:
        average.set_weights(model.get_weights())
    return model, average


def _fits_head(run: Run, epoch: int) -> bool:
    """Whether an epoch fits the last layer alone, since the others know something already, and it does not."""
    return run.weights != "none" and epoch <= run.candidate.head_epochs


def _compile(model: keras.Model, optimizer: keras.Optimizer | None = None) -> None:
    fuse_normalization(model)
    model.compile(
        optimizer or "sgd", "categorical_crossentropy", metrics=["accuracy"], jit_compile=False
    )


def fuse_normalization(model: keras.Model) -> None:
    """Has batch normalization fitted by the one function that TensorFlow has for it (`benchmarks/fit.py`).

    Nothing else changes: not what is saved, and of what is fitted only the moving variance, which counts one position
    less than Keras does, of the tens of thousands in a batch of faces.
    """
    if keras.backend.backend() == "tensorflow":
        for layer in model.layers:
            if type(layer) is keras.layers.BatchNormalization:
                layer.call = partial(_normalize, layer, layer.call)


def _normalize(
    layer: keras.layers.BatchNormalization,
    plain: Callable[..., Any],
    inputs: Any,
    training: bool | None = None,
    mask: Any = None,
) -> Any:
    if mask is not None or not (training and layer.trainable):
        return plain(inputs, training=training, mask=mask)
    import tensorflow as tf

    outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
        inputs, layer.gamma, layer.beta, epsilon=layer.epsilon, is_training=True
    )
    for moving, new in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        moving.assign(moving * layer.momentum + new * (1 - layer.momentum))
    return outputs


def _fit_epoch(
    model: keras.Model,
    validated: keras.Model,
    run: Run,
    train: Dataset,
    held_out: "_Batches",
    progress: Progress,
) -> dict[str, float]:
    began, epoch = time.monotonic(), len(run.history) + 1
    batches = _Batches(train, run, epoch)
    if epoch > 1 and _fits_head(run, epoch - 1) and not _fits_head(run, epoch):
        for layer in model.layers:
            layer.trainable = True
        _compile(model, run.candidate.optimizer(len(batches)))
    _seed_dropout(model, (run.seed, epoch))
    average = (
        None if validated is model else _Average(validated.get_weights(), run.candidate.averaging)
    )

    def after_batch(index: int, logs: Mapping[str, float]) -> None:
        _check_loss(logs["loss"], run, epoch)
        if average and ((index + 1) % _Average.EVERY == 0 or index + 1 == len(batches)):
            average.add(model.get_weights(), batch=(epoch - 1) * len(batches) + index + 1)
        progress.batch(epoch, index + 1, len(batches))

    watch = keras.callbacks.LambdaCallback(on_train_batch_end=after_batch)
    # The batches come shuffled; left to believe that it should shuffle them, Keras warns.
    fitted = model.fit(batches, shuffle=False, verbose=0, callbacks=[watch]).history
    if average:
        validated.set_weights(average.weights)
    found = validated.evaluate(held_out, verbose=0, return_dict=True)
    metrics = {name: float(values[-1]) for name, values in fitted.items()}
    metrics |= {f"val_{name}": float(value) for name, value in found.items()}
    if missing := [name for name in METRICS if name not in metrics]:
        raise DataError(
            f"Keras gave no {', '.join(missing)} for epoch {epoch}, only {', '.join(metrics)}."
        )
    _check_loss(metrics["val_loss"], run, epoch)
    return {**metrics, "seconds": round(time.monotonic() - began, 1)}


class _Average:
    """Moving average of a network's weights, moving statistics among them."""

    EVERY: Final = 8  # Batches between two additions: each costs a copy of the weights.

    def __init__(self, weights: Sequence[NDArray[np.float32]], decay: float) -> None:
        self.weights = list(weights)
        self._decay = decay**self.EVERY

    def add(self, weights: Sequence[NDArray[np.float32]], batch: int) -> None:
        """So early that the decay would hold on to the random start, it is lower."""
        decay = min(self._decay, batch / (batch + 10 * self.EVERY))
        for i, new in enumerate(weights):
            self.weights[i] = self.weights[i] * decay + new * (1 - decay)


def _seed_dropout(model: keras.Model, seed: tuple[int, int]) -> None:
    """A checkpoint doesn't hold the state that dropout draws from, so each epoch begins with one of its own."""
    random = np.random.default_rng(seed)
    for variable in model.variables:
        if variable.name == "seed_generator_state":
            variable.assign(random.integers(0, 2**31, variable.shape).astype(variable.dtype))


def _check_loss(loss: float, run: Run, epoch: int) -> None:
    if not np.isfinite(loss):
        raise DataError(
            f"The loss of {run.candidate.name} became {loss} in epoch {epoch}. Lower its learning rate, or train the "
            f"others without it: epochs done are kept in {run.folder.parent} (--run-dir)."
        )


def _commit(
    run: Run,
    model: keras.Model,
    validated: keras.Model,
    metrics: dict[str, float],
    description: dict[str, Any],
) -> None:
    """Keeps the epoch just done: first the network, then, by a rename, the record that names it."""
    history = [*run.history, metrics]
    model.save(run.checkpoint(len(history)))
    validated.save_weights(run.validated(len(history)))
    record = {**description, "policy": run.policy, "epochs": history}
    write_atomically(run.history_file, json.dumps(record, indent=1).encode())
    run.history = history
    for old in set(run.folder.glob("epoch-*")) - run.files():
        old.unlink()


def best(run: Run) -> keras.Model:
    """The network with the weights of the best epoch so far, in float32."""
    keras.utils.clear_session()  # Layers are numbered by process; a release's weights are named the same every time.
    fitted = run.build()
    fitted.load_weights(run.validated(run.best_epoch))
    return fitted


@contextmanager
def _global_policy(name: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


class _Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of (input, target); shuffled and augmented anew each epoch from the seed, or as they are without one."""

    def __init__(self, data: Dataset, run: Run, epoch: int | None = None) -> None:
        super().__init__(workers=1, max_queue_size=4)
        self._data = data
        self._run = run
        self._epoch = epoch
        everything = np.arange(len(data))
        self._order = everything if epoch is None else self._random().permutation(len(data))

    def __len__(self) -> int:
        return math.ceil(len(self._order) / self._run.candidate.batch_size)

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        size = self._run.candidate.batch_size
        chosen = self._order[index * size : (index + 1) * size]
        images, targets = self._data.images[chosen], self._data.targets(chosen)
        if self._epoch is None:
            return self._run.preprocessing.to_input(images), targets
        random, candidate = self._random(index), self._run.candidate
        if self._data.soft is None:
            smoothing = candidate.label_smoothing
            targets = targets * (1 - smoothing) + smoothing * self._data.prior()
        if candidate.augmentation is None:
            return self._run.preprocessing.to_input(images), targets
        augmentation = candidate.augmentation.at(self._epoch, candidate.epochs)
        side = augmentation.size(self._run.preprocessing.height, self._epoch, candidate.epochs)
        inputs = self._run.preprocessing.to_input(augmentation.apply(images, side, random))
        return (
            mix(inputs, targets, augmentation.mixup, random)
            if augmentation.mixup
            else (inputs, targets)
        )

    def _random(self, *part: int) -> np.random.Generator:
        return np.random.default_rng((self._run.seed, self._epoch or 0, *part))
