"""From labelled images to a released model: load, fit, compare, calibrate, export, report."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

from models.pictures.preprocessing import Preprocessing
from models.release.files import save_release
from models.release.release import Release
from trainer.candidates import CANDIDATES, fetch_pretrained, multiply_adds
from trainer.datasets.dataset import Dataset, drop_shared, split
from trainer.datasets.load import load
from trainer.export import export
from trainer.fit import METRICS, fit
from trainer.int8 import measure_int8
from trainer.plan import Plan
from trainer.progress import Progress, Silent
from trainer.quality.calibration import calibrate, fold_temperature
from trainer.quality.evaluation import Predict, evaluate, measure, predict_all
from trainer.quality.pictures import PictureKind, warn_of_training
from trainer.report.write import write_card, write_report
from trainer.run import Run

VALIDATION_SHARE: Final = 0.2
"""Share of each label that is held out without a validation source, as in the reference."""

TEACHER_SHARE: Final = 0.6
"""Weight of the teachers' scores in a target; the label has the rest."""


@dataclass(frozen=True)
class TrainingResult:
    """The outcome of a training.

    Attributes:
        comparison: for each candidate its parameters, multiply_adds, epochs, best_epoch,
            val_accuracy, val_macro_f1, seconds, and whether it was chosen.
        release: the chosen candidate, as written to `path`.
        interrupted: whether the training ended early; the release is then the best so far.
    """

    comparison: Sequence[Mapping[str, Any]]
    release: Release
    path: Path
    report: Path
    interrupted: bool


@dataclass(frozen=True)
class _Data:
    """The loaded data; `dropped` training images were removed because validation has them too."""

    train: Dataset
    validation: Dataset
    preprocessing: Preprocessing
    dropped: int

    @cached_property
    def train_kind(self) -> PictureKind:
        return PictureKind.of(self.train.images)

    @cached_property
    def validation_kind(self) -> PictureKind:
        return PictureKind.of(self.validation.images)

    def list_warnings(self) -> list[str]:
        return warn_of_training(
            self.train_kind.seen_by(self.preprocessing),
            self.validation_kind.seen_by(self.preprocessing),
        )


def train(
    plan: Plan,
    folder: Path,
    output: Path | None = None,
    progress: Progress | None = None,
    teachers: Sequence[Predict] = (),
    start: Release | None = None,
) -> TrainingResult:
    """Trains the candidates and writes the best one's pickle.

    If it is interrupted, the same call resumes after the last completed epoch.

    Args:
        folder: receives each candidate's history and checkpoints, the comparison, the report with
            its figures, and the card.
        output: the pickle; by default in `folder`.
        progress: notified as the training proceeds. An exception that it raises ends the training;
            completed epochs are kept.
        teachers: the predictions of the releases that `plan.teachers` names.
        start: the release that `plan.start` names.

    Raises:
        NotFoundError: a candidate does not exist.
        DataError: the data cannot be trained on, pretrained weights are unavailable, a loss became
            NaN, or the folder holds a different run.
        KeyboardInterrupt: before the first epoch was complete. After that, an interrupt ends the
            training, and the best epoch so far is released.
    """
    plan.check()
    _check_pretrained(plan, folder)

    progress = progress or Silent()
    data = _load_data(plan, start, progress)
    progress.data(data.train.balance(), data.validation.balance(), data.dropped)
    for text in data.list_warnings():
        progress.warning(text)

    runs, interrupted = _fit_all(plan, start, folder, data, teachers, progress)
    scores = [_predict_validation(run, data) for run in runs]
    comparison = [
        _summarise(run, run_scores, data.validation.labels)
        for run, run_scores in zip(runs, scores, strict=True)
    ]
    chosen = int(np.argmax([row[f"val_{plan.select_by}"] for row in comparison]))
    comparison[chosen]["chosen"] = True
    (folder / "comparison.json").write_text(json.dumps(comparison, indent=1))

    run = runs[chosen]
    model = run.load_best()
    calibration = calibrate(scores[chosen], data.validation.labels)
    fold_temperature(model, calibration.temperature)

    evaluation, calibrated_scores = evaluate(
        model.predict_on_batch, data.validation, data.preprocessing
    )
    release = export(
        model,
        run.candidate.name.capitalize(),
        data.preprocessing,
        trained_labels=data.train.emotions(),
        metrics={
            "val_accuracy": evaluation.accuracy,
            "val_loss": evaluation.loss,
            "val_macro_f1": evaluation.macro_f1,
        },
        data=_describe_data(data),
        training=_describe_training(run, plan, len(data.train)),
        calibration=calibration.to_plain(),
    )
    release = replace(release, int8=measure_int8(release, data.validation))

    path = output or folder / f"{release.name}_trained.pkl"
    release = replace(release, sha256=save_release(release, path))

    histories = {run.candidate.name: run.history for run in runs}
    report = write_report(
        folder, release, evaluation, data.validation, calibrated_scores, histories, comparison
    )
    write_card(path.with_suffix(".md"), release, evaluation)
    return TrainingResult(comparison, release, path, report, interrupted)


def _check_pretrained(plan: Plan, folder: Path) -> None:
    """Fails before hours of fitting, not after, if a candidate lacks its pretrained weights."""
    needed = any(
        CANDIDATES[name].pretrained and not (folder / name).exists() for name in plan.candidates
    )
    if needed:
        fetch_pretrained(plan.weights)


def _load_data(plan: Plan, start: Release | None, progress: Progress) -> _Data:
    preprocessing = Preprocessing()
    if plan.equalise or (start is not None and start.preprocessing.equalise):
        preprocessing = replace(preprocessing, channel_order="grey", equalise=True)

    train = load(plan.data, preprocessing, progress.read)
    if train.is_grey():
        # A network that never saw colour must not be shown any (docs/decisions/0005).
        preprocessing = replace(preprocessing, channel_order="grey")

    if plan.validation:
        validation = load(plan.validation, preprocessing, progress.read)
    else:
        train, validation = split(train, VALIDATION_SHARE, plan.seed)

    kept = drop_shared(train, validation)
    return _Data(kept, validation, preprocessing, dropped=len(train) - len(kept))


def _fit_all(
    plan: Plan,
    start: Release | None,
    folder: Path,
    data: _Data,
    teachers: Sequence[Predict],
    progress: Progress,
) -> tuple[list[Run], bool]:
    """The runs with at least one epoch, and whether fitting was interrupted."""
    train = data.train
    if teachers:
        train = _add_teachers(train, teachers, data.preprocessing)

    runs: list[Run] = []
    for name in plan.candidates:
        run = Run(
            folder / name,
            CANDIDATES[name],
            data.preprocessing,
            plan.seed,
            plan.weights,
            start,
            plan.teachers,
        )
        progress.candidate(name, run.candidate.epochs)

        try:
            fit(run, train, data.validation, progress)
        except KeyboardInterrupt:
            if run.history:
                runs.append(run)
            if not runs:
                raise
            return runs, True
        runs.append(run)
    return runs, False


def _add_teachers(
    data: Dataset, teachers: Sequence[Predict], preprocessing: Preprocessing
) -> Dataset:
    """Blends the targets with the teachers' mean scores for each image and its mirror image.

    Source: Hinton et al. 2015, "Distilling the Knowledge in a Neural Network", arXiv:1503.02531.
    """
    scores = [
        predict_all(teacher, data, preprocessing, mirror=mirror)
        for teacher in teachers
        for mirror in (False, True)
    ]
    mean = sum(scores) / len(scores)
    soft = (1 - TEACHER_SHARE) * data.targets() + TEACHER_SHARE * mean
    return replace(data, soft=np.asarray(soft, np.float32))


def _predict_validation(run: Run, data: _Data) -> NDArray[np.float32]:
    predict = run.load_best().predict_on_batch
    return predict_all(predict, data.validation, data.preprocessing)


def _summarise(run: Run, scores: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, Any]:
    """A candidate's row in the comparison."""
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


def _describe_data(data: _Data) -> dict[str, Any]:
    """The names of the data sets and their images by label, for the pickle."""
    return {
        "train": {
            "source": data.train.name,
            "images": data.train.balance(),
            "dropped": data.dropped,
            "pictures": data.train_kind.to_plain(),
        },
        "validation": {
            "source": data.validation.name,
            "images": data.validation.balance(),
            "pictures": data.validation_kind.to_plain(),
        },
    }


def _describe_training(run: Run, plan: Plan, images: int) -> dict[str, Any]:
    """How the released candidate was trained, for the pickle."""
    steps = -(-images // run.candidate.batch_size)  # Rounded up.
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
