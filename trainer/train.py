"""From folders of labelled images to a pickle: read, fit, evaluate, export."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import keras

from models import pickles
from models.errors import NotFoundError
from models.pickles import Release
from models.preprocessing import Preprocessing
from trainer.candidates import CANDIDATES, Candidate
from trainer.data import Dataset, load_folder, split
from trainer.evaluate import measure, predict_all
from trainer.export import export
from trainer.fit import Run, fit
from trainer.progress import Progress, Silent

HELD_OUT: Final = 0.2  # The reference's split, as is its seed.
SEED: Final = 0


def train(
    candidate_name: str,
    data: Path,
    validation: Path | None,
    run_folder: Path,
    output: Path,
    progress: Progress | None = None,
) -> Release:
    """Trains a candidate and writes its pickle; after an interruption, the same call goes on with the next epoch.

    Args:
        data: a folder with one subfolder a label.
        validation: another, to choose the best epoch by; None = hold out a fifth of each label of `data`.
        run_folder: keeps the history and the checkpoints; of this run alone.

    Returns:
        The release as written to `output`: of the epoch with the highest validation accuracy, with its `val_accuracy`,
        `val_loss` and `val_macro_f1`, measured in float32.

    Raises:
        NotFoundError: no such candidate.
        DataError: images that can't be trained on, a loss that became NaN, or a run folder that holds another run.
    """
    candidate = _candidate(candidate_name)
    shown = progress or Silent()
    preprocessing = Preprocessing()
    fitted_to, held_out = _read(data, validation, preprocessing, shown)
    if fitted_to.is_grey():  # It will know no colour, so it must be shown none (docs/decisions/0005).
        preprocessing = replace(preprocessing, channel_order="grey")
    run = Run(run_folder, candidate, preprocessing, SEED)
    model = fit(run, fitted_to, held_out, shown)
    scores = predict_all(model.predict_on_batch, held_out, run.preprocessing)
    release = export(
        model,
        candidate.name.capitalize(),
        run.preprocessing,
        trained_labels=tuple(fitted_to.balance()),
        metrics={f"val_{name}": value for name, value in measure(scores, held_out.labels).items()},
        data=_describe_data(fitted_to, held_out),
        training=_describe_training(run),
    )
    return replace(release, sha256=pickles.save(release, output))


def _candidate(name: str) -> Candidate:
    if name not in CANDIDATES:
        raise NotFoundError(f"There is no candidate {name!r}; there are: {', '.join(CANDIDATES)}.")
    return CANDIDATES[name]


def _read(
    data: Path, validation: Path | None, preprocessing: Preprocessing, progress: Progress
) -> tuple[Dataset, Dataset]:
    everything = load_folder(data, preprocessing, progress.read)
    if validation is None:
        return split(everything, HELD_OUT, SEED)
    return everything, load_folder(validation, preprocessing, progress.read)


def _describe_data(train: Dataset, validation: Dataset) -> Mapping[str, Any]:
    """Where the images came from, and how many of each label there were."""
    parts = {"train": train, "validation": validation}
    return {part: {"source": data.source, "images": data.balance()} for part, data in parts.items()}


def _describe_training(run: Run) -> Mapping[str, Any]:
    return {
        "candidate": run.candidate.name,
        "optimizer": keras.optimizers.serialize(run.candidate.optimizer()),
        "batch_size": run.candidate.batch_size,
        "epochs": len(run.history),
        "best_epoch": run.best_epoch,
        "seed": run.seed,
        "policy": run.policy,
    }
