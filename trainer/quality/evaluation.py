"""How good a network is on labelled images it was not fitted to, and how far its scores can be believed."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.labels import EMOTIONS
from models.pictures.preprocessing import Preprocessing
from trainer.datasets.dataset import Dataset
from trainer.quality.calibration import expected_calibration_error

Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Inputs (n, height, width, 3) to scores (n, labels): an engine's `predict`, or Keras' `predict_on_batch`."""

BATCH_SIZE: Final = 256
_SMALLEST: Final = 1e-7  # A score below it counts as it, as in Keras, so that one sure mistake isn't an infinite loss.


@dataclass(frozen=True)
class LabelFigures:
    """One label's row in the table: all in [0, 1], but `support`, the images that have it."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Evaluation:
    """What was measured on a data set, on each image as it is; figures are shares in [0, 1].

    Attributes:
        source, images: the data set, and how many images it has.
        top3: the share of images whose label is among the three highest scores.
        loss: the mean of -ln(score of the true label).
        macro_f1, weighted_f1: the mean of the labels' F1, each alike or by its support.
        ece: the expected calibration error.
        flip_accuracy: the accuracy when an image's scores are averaged with its mirror image's; costs twice as much.
        by_label: for each label that the images have or that was predicted, in label order.
        confusion: images by true label (row) and predicted label (column), over the labels of `by_label`.
    """

    source: str
    images: int
    accuracy: float
    top3: float
    loss: float
    macro_f1: float
    weighted_f1: float
    ece: float
    flip_accuracy: float
    by_label: dict[str, LabelFigures]
    confusion: list[list[int]]

    def to_plain(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return asdict(self)


def evaluate(
    predict: Predict, data: Dataset, preprocessing: Preprocessing
) -> tuple[Evaluation, NDArray[np.float32]]:
    """Measures a network; also returns the scores (n, labels) of the images as they are."""
    scores = predict_all(predict, data, preprocessing)
    mirrored = predict_all(predict, data, preprocessing, mirror=True)
    predicted = scores.argmax(axis=1)
    shown = np.union1d(data.labels, predicted)
    by_label = {
        EMOTIONS[label]: _figures(predicted == label, data.labels == label) for label in shown
    }
    supports = [figures.support for figures in by_label.values()]
    measured = measure(scores, data.labels)
    found = Evaluation(
        source=data.name,
        images=len(data),
        accuracy=measured["accuracy"],
        top3=float((np.argsort(scores, axis=1)[:, -3:] == data.labels[:, None]).any(axis=1).mean()),
        loss=measured["loss"],
        macro_f1=measured["macro_f1"],
        weighted_f1=float(
            np.average([figures.f1 for figures in by_label.values()], weights=supports)
        ),
        ece=expected_calibration_error(scores, data.labels),
        flip_accuracy=float(((scores + mirrored).argmax(axis=1) == data.labels).mean()),
        by_label=by_label,
        confusion=[
            [int(((data.labels == row) & (predicted == column)).sum()) for column in shown]
            for row in shown
        ],
    )
    return found, scores


def predict_all(
    predict: Predict, data: Dataset, preprocessing: Preprocessing, *, mirror: bool = False
) -> NDArray[np.float32]:
    """Scores (n, labels) of every image, or of its mirror image, in the data's order."""
    starts = range(0, len(data), BATCH_SIZE)
    images = data.images[:, :, ::-1] if mirror else data.images
    return np.concatenate(
        [predict(preprocessing.to_input(images[start : start + BATCH_SIZE])) for start in starts]
    )


def measure(scores: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
    """Three figures for scores (n, labels) against the true labels (n,).

    Returns:
        `accuracy`: the share of images whose highest score is the true label's, in [0, 1].
        `loss`: the mean of -ln(score of the true label); the penalty on weights that fitting adds is not in it.
        `macro_f1`: the mean, over the labels that `labels` has, of F1 = 2 * hits / (predicted + true), in [0, 1]; small
        classes count as much as large ones.
    """
    predicted = scores.argmax(axis=1)
    truth = scores[np.arange(len(labels)), labels]
    return {
        "accuracy": float((predicted == labels).mean()),
        "loss": float(-np.log(np.clip(truth, _SMALLEST, 1.0)).mean()),
        "macro_f1": float(
            np.mean(
                [_figures(predicted == label, labels == label).f1 for label in np.unique(labels)]
            )
        ),
    }


def _figures(predicted: NDArray[np.bool_], true: NDArray[np.bool_]) -> LabelFigures:
    """Where nothing was predicted, precision counts as 0; where nothing is true, so does recall."""
    hits, support = int((predicted & true).sum()), int(true.sum())
    return LabelFigures(
        precision=hits / max(1, int(predicted.sum())),
        recall=hits / max(1, support),
        f1=2 * hits / int(predicted.sum() + support),
        support=support,
    )
