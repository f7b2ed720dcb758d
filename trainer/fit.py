"""Fitting one candidate: epoch by epoch, with a checkpoint after each, so that running again goes on.

A run's folder holds `epoch-NN.keras` (network and optimizer) of the last and of the best epoch, and `history.json`,
which says which epochs are done. It is replaced last, in one step: an epoch that it doesn't name never was.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from models.errors import DataError
from models.labels import EMOTIONS
from models.preprocessing import Preprocessing
from models.processor import has_bf16
from trainer.candidates import Candidate
from trainer.data import Dataset
from trainer.progress import Progress


def best_policy() -> str:
    """bfloat16 arithmetic where the processor has it, which more than doubles the speed (`benchmarks/fit.py`)."""
    return "mixed_bfloat16" if has_bf16() else "float32"


@dataclass
class Run:
    """One candidate's fit and the folder it is kept in.

    Attributes:
        policy: Keras' precision policy while fitting.
        history: for each epoch done, its metrics: `loss`, `accuracy`, `val_loss`, `val_accuracy`.
    """

    folder: Path
    candidate: Candidate
    preprocessing: Preprocessing
    seed: int = 0
    policy: str = field(default_factory=best_policy)
    history: list[dict[str, float]] = field(default_factory=list)

    @property
    def best_epoch(self) -> int:
        """The epoch, counted from 1, with the highest validation accuracy; the earliest of equals."""
        return 1 + int(np.argmax([epoch["val_accuracy"] for epoch in self.history]))

    @property
    def finished(self) -> bool:
        """All epochs done, or no better one for as many as the candidate's patience."""
        done = len(self.history)
        return done >= self.candidate.epochs or (done > 0 and done - self.best_epoch >= self.candidate.patience)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one input: (height, width, channels)."""
        return self.preprocessing.height, self.preprocessing.width, 3

    @property
    def history_file(self) -> Path:
        """Which epochs are done, and of what."""
        return self.folder / "history.json"

    def checkpoint(self, epoch: int) -> Path:
        """Network and optimizer as they were after an epoch."""
        return self.folder / f"epoch-{epoch:02}.keras"


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
        model = _start(run)
        held_out = _batches(validation, run, epoch=None)
        while not run.finished:
            run.history.append(_fit_epoch(model, run, train, held_out, progress))
            _commit(run, model, description)
            progress.epoch(len(run.history), run.history[-1])
    return _best(run)


def _describe(run: Run, train: Dataset, validation: Dataset) -> dict[str, Any]:
    """What must be the same for a run to be gone on with."""
    return {
        "candidate": run.candidate.name,
        "seed": run.seed,
        "preprocessing": run.preprocessing.to_plain(),
        "train": train.balance(),
        "validation": validation.balance(),
    }


def _resume(run: Run, description: dict[str, Any]) -> None:
    """Takes up the history that the run's folder holds, if it does."""
    if not run.history_file.exists():
        return
    try:
        record = json.loads(run.history_file.read_text())
        different = [key for key, value in description.items() if record[key] != value]
        run.history, run.policy = record["epochs"], record["policy"]
        kept = {run.checkpoint(len(run.history)), run.checkpoint(run.best_epoch)}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{run.history_file} is no history of ours ({error!r}); give another folder.") from error
    if different:
        raise DataError(f"{run.folder} holds a run with other {', '.join(different)}; give another folder.")
    if missing := [path.name for path in sorted(kept) if not path.exists()]:
        raise DataError(f"{run.folder} lacks {', '.join(missing)}; put it back, or give another folder.")


def _start(run: Run) -> keras.Model:
    """The network of the last epoch, or a new one."""
    if run.history:
        return keras.saving.load_model(run.checkpoint(len(run.history)))
    keras.utils.set_random_seed(run.seed)
    model = run.candidate.build(run.shape, len(EMOTIONS))
    model.compile(run.candidate.optimizer(), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def _fit_epoch(
    model: keras.Model, run: Run, train: Dataset, held_out: tf.data.Dataset, progress: Progress
) -> dict[str, float]:
    epoch = len(run.history) + 1
    _seed_dropout(model, (run.seed, epoch))
    batches = _batches(train, run, epoch)
    total = int(batches.cardinality())

    def after_batch(index: int, logs: Mapping[str, float]) -> None:
        _check_loss(logs["loss"], epoch)
        progress.batch(epoch, index + 1, total)

    watch = keras.callbacks.LambdaCallback(on_train_batch_end=after_batch)
    # The batches come shuffled; left to believe that it should shuffle them, Keras warns.
    result = model.fit(batches, validation_data=held_out, shuffle=False, verbose=0, callbacks=[watch])
    metrics = {name: float(values[-1]) for name, values in result.history.items()}
    _check_loss(metrics["val_loss"], epoch)
    return metrics


def _seed_dropout(model: keras.Model, seed: tuple[int, int]) -> None:
    """A checkpoint doesn't hold the state that dropout draws from, so each epoch begins with one of its own."""
    random = np.random.default_rng(seed)
    for variable in model.variables:
        if variable.name == "seed_generator_state":
            variable.assign(random.integers(0, 2**32, variable.shape, np.uint32))


def _check_loss(loss: float, epoch: int) -> None:
    if not np.isfinite(loss):
        raise DataError(
            f"The loss became {loss} in epoch {epoch}. Lower the learning rate and run again: epochs done are kept."
        )


def _commit(run: Run, model: keras.Model, description: dict[str, Any]) -> None:
    """Keeps the epoch just done: first the network, then, by a rename, the record that names it."""
    model.save(run.checkpoint(len(run.history)))
    beside = run.history_file.with_suffix(".json.new")
    beside.write_text(json.dumps({**description, "policy": run.policy, "epochs": run.history}, indent=1))
    os.replace(beside, run.history_file)
    kept = {run.checkpoint(len(run.history)), run.checkpoint(run.best_epoch)}
    for old in set(run.folder.glob("epoch-*.keras")) - kept:
        old.unlink()


def _best(run: Run) -> keras.Model:
    best = keras.saving.load_model(run.checkpoint(run.best_epoch), compile=False)
    keras.utils.clear_session()  # Layers are numbered by process; a release's weights are named the same every time.
    fitted = run.candidate.build(run.shape, len(EMOTIONS))
    fitted.set_weights(best.get_weights())
    return fitted


@contextmanager
def _global_policy(name: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _batches(data: Dataset, run: Run, epoch: int | None) -> tf.data.Dataset:
    """Batches of (input, label); shuffled anew each epoch from the seed, or in order when `epoch` is None."""
    order = np.arange(len(data)) if epoch is None else np.random.default_rng((run.seed, epoch)).permutation(len(data))
    size = run.candidate.batch_size

    def batches() -> Iterator[Any]:
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            yield run.preprocessing.to_input(data.images[chosen]), data.labels[chosen]

    signature = (tf.TensorSpec((None, *data.images.shape[1:]), tf.float32), tf.TensorSpec((None,), tf.int64))
    made = tf.data.Dataset.from_generator(batches, output_signature=signature)
    return made.apply(tf.data.experimental.assert_cardinality(-(-len(order) // size))).prefetch(2)
