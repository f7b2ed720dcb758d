"""From sources of labelled images to a pickle: read, fit each candidate, compare, calibrate, export, report."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

from models.pictures.preprocessing import Preprocessing
from models.release.files import save_release
from models.release.release import Release
from trainer.candidates import CANDIDATES, multiply_adds, pretrained
from trainer.datasets.dataset import Dataset, drop_shared, split
from trainer.datasets.load import load
from trainer.export import export
from trainer.fit import METRICS, fit
from trainer.int8 import measure_int8
from trainer.plan import Plan
from trainer.progress import Progress, Silent
from trainer.quality.calibration import calibrate, fold_temperature
from trainer.quality.evaluation import Predict, evaluate, measure, predict_all
from trainer.report.write import write_card, write_report
from trainer.run import Run

HELD_OUT: Final = 0.2  # The reference's split, as is its seed.
TAUGHT: Final = 0.6  # The teachers' share of a target; labels have the rest.


@dataclass(frozen=True)
class TrainingResult:
    """What a training came to.

    Attributes:
        comparison: for each candidate its parameters, multiply_adds, epochs, best_epoch, val_accuracy, val_macro_f1,
            seconds, and whether it was chosen.
        release: the chosen one, as written to `path`.
        interrupted: whether it is the best so far only.
    """

    comparison: Sequence[Mapping[str, Any]]
    release: Release
    path: Path
    report: Path
    interrupted: bool


def train(
    plan: Plan,
    folder: Path,
    output: Path | None = None,
    progress: Progress | None = None,
    teachers: Sequence[Predict] = (),
    start: Release | None = None,
) -> TrainingResult:
    """Trains candidates and writes the best one's pickle; after an interruption, the same call goes on.

    Args:
        folder: keeps each candidate's history and checkpoints, the comparison, the report, its figures and the card.
        output: the pickle; by default in `folder`.
        progress: an exception that it raises ends the training; all epochs done are kept.
        teachers: they predict with the releases that `plan.teachers` names.
        start: the release that `plan.start` names.

    Raises:
        NotFoundError, DataError: as `Plan.check` and `pretrained` say; images that can't be trained on, a loss that
            became NaN, or a folder that holds another run.
        KeyboardInterrupt: before the first epoch was done. Later, the best epoch so far is written.
    """
    plan.check()
    if any(
        CANDIDATES[name].pretrained and not (folder / name).exists() for name in plan.candidates
    ):
        pretrained(
            plan.weights
        )  # What can't be had is told now, not after hours of fitting the others.
    shown = progress or Silent()
    train_data, validation, preprocessing, dropped = _read(plan, shown)
    shown.data(train_data.balance(), validation.balance(), dropped)
    taught = _teach(train_data, teachers, preprocessing) if teachers else train_data
    runs, interrupted = _fit_all(plan, start, folder, preprocessing, taught, validation, shown)
    scores = [
        predict_all(run.load_best().predict_on_batch, validation, preprocessing) for run in runs
    ]
    comparison = [
        _row(run, found, validation.labels) for run, found in zip(runs, scores, strict=True)
    ]
    chosen = int(np.argmax([row[f"val_{plan.select_by}"] for row in comparison]))
    comparison[chosen]["chosen"] = True
    (folder / "comparison.json").write_text(json.dumps(comparison, indent=1))

    run = runs[chosen]
    calibration = calibrate(scores[chosen], validation.labels)
    model = run.load_best()
    fold_temperature(model, calibration.temperature)
    evaluation, calibrated = evaluate(model.predict_on_batch, validation, preprocessing)
    metrics = ("accuracy", "loss", "macro_f1")
    release = export(
        model,
        run.candidate.name.capitalize(),
        preprocessing,
        trained_labels=train_data.seen(),
        metrics={f"val_{name}": getattr(evaluation, name) for name in metrics},
        data=_describe_data(train_data, validation, dropped),
        training=_describe_training(run, plan, len(train_data)),
        calibration=calibration.to_plain(),
    )
    release = replace(release, int8=measure_int8(release, validation))
    path = output or folder / f"{release.name}_trained.pkl"
    release = replace(release, sha256=save_release(release, path))
    histories = {run.candidate.name: run.history for run in runs}
    report = write_report(
        folder, release, evaluation, validation, calibrated, histories, comparison
    )
    write_card(path.with_suffix(".md"), release, evaluation)
    return TrainingResult(comparison, release, path, report, interrupted)


def _read(plan: Plan, progress: Progress) -> tuple[Dataset, Dataset, Preprocessing, int]:
    """What to train on, what to choose by, how images are shown, and how many were dropped as shared."""
    preprocessing = Preprocessing()
    everything = load(plan.data, preprocessing, progress.read)
    if (
        everything.is_grey()
    ):  # It will know no colour, so it must be shown none (docs/decisions/0005).
        preprocessing = replace(preprocessing, channel_order="grey")
    if plan.validation:
        first, second = everything, load(plan.validation, preprocessing, progress.read)
    else:
        first, second = split(everything, HELD_OUT, plan.seed)
    kept = drop_shared(first, second)
    return kept, second, preprocessing, len(first) - len(kept)


def _teach(data: Dataset, teachers: Sequence[Predict], preprocessing: Preprocessing) -> Dataset:
    """Targets that are partly the teachers' mean scores for an image and its mirror image (Hinton et al. 2015)."""
    ways = [(teacher, mirror) for teacher in teachers for mirror in (False, True)]
    scores = sum(
        predict_all(teacher, data, preprocessing, mirror=mirror) for teacher, mirror in ways
    ) / len(ways)
    soft = (1 - TAUGHT) * data.targets(np.arange(len(data))) + TAUGHT * scores
    return replace(data, soft=np.asarray(soft, np.float32))


def _fit_all(
    plan: Plan,
    start: Release | None,
    folder: Path,
    preprocessing: Preprocessing,
    train: Dataset,
    validation: Dataset,
    progress: Progress,
) -> tuple[list[Run], bool]:
    """The runs that have an epoch at least, and whether they were interrupted."""
    runs: list[Run] = []
    for name in plan.candidates:
        run = Run(
            folder / name,
            CANDIDATES[name],
            preprocessing,
            plan.seed,
            plan.weights,
            start,
            plan.teachers,
        )
        progress.candidate(name, run.candidate.epochs)
        try:
            fit(run, train, validation, progress)
        except KeyboardInterrupt:
            runs += [run] if run.history else []
            if not runs:
                raise
            return runs, True
        runs.append(run)
    return runs, False


def _row(run: Run, scores: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, Any]:
    model = run.load_best()
    measured = measure(scores, labels)
    return {
        "candidate": run.candidate.name,
        "parameters": model.count_params(),
        "multiply_adds": multiply_adds(model),
        "epochs": len(run.history),
        "best_epoch": run.best_epoch,
        "val_accuracy": measured["accuracy"],
        "val_macro_f1": measured["macro_f1"],
        "seconds": sum(epoch["seconds"] for epoch in run.history),
        "chosen": False,
    }


def _describe_data(train: Dataset, validation: Dataset, dropped: int) -> dict[str, Any]:
    """Where the images came from, and how many of each label there were."""
    parts = {"train": train, "validation": validation}
    described = {
        part: {"source": data.name, "images": data.balance()} for part, data in parts.items()
    }
    return {**described, "train": {**described["train"], "dropped": dropped}}


def _describe_training(run: Run, plan: Plan, images: int) -> dict[str, Any]:
    steps = -(-images // run.candidate.batch_size)
    return {
        "candidate": run.candidate.name,
        "optimizer": keras.optimizers.serialize(run.candidate.optimizer(steps)),
        "batch_size": run.candidate.batch_size,
        "epochs": len(run.history),
        "best_epoch": run.best_epoch,
        "seed": run.seed,
        "policy": run.policy,
        "weights": run.weights if run.candidate.pretrained else "none",
        "teachers": list(plan.teachers),
        "start": plan.start,
        "history": [{name: epoch[name] for name in (*METRICS, "seconds")} for epoch in run.history],
    }
