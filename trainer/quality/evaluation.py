"""Measuring a network on labelled images that it was not fitted to."""

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
"""Inputs (n, height, width, 3) to scores (n, labels): an engine's `predict`, or Keras'."""

BATCH_SIZE: Final = 256

_MIN_SCORE: Final = 1e-7
"""Lower scores count as this, as in Keras, so that no mistake costs an infinite loss."""


@dataclass(frozen=True)
class LabelFigures:
    """The figures of one label: `support` counts its images, the others are in [0, 1]."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Evaluation:
    """The figures for a data set; all but counts and loss are shares in [0, 1].

    Each image is shown once, as it is, except for `flip_accuracy`.

    Attributes:
        source, images: the data set's name, and how many images it has.
        top3: share of the images whose label is among the three highest scores.
        loss: mean of -ln(score of the true label).
        macro_f1, weighted_f1: mean F1 of the labels, unweighted or weighted by support.
        ece: expected calibration error.
        flip_accuracy: accuracy when the scores of each image and its mirror image are averaged,
            which takes twice as long.
        by_label: for each label that occurs or was predicted, in label order.
        confusion: number of images by true label (row) and predicted label (column), for the labels
            of `by_label`.
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
        """Plain values, as `cuemill evaluate --json` prints them."""
        return asdict(self)


def evaluate(
    predict: Predict, data: Dataset, preprocessing: Preprocessing
) -> tuple[Evaluation, NDArray[np.float32]]:
    """Measures a network.

    Returns:
        The figures, and the scores (n, labels) of the images as they are.
    """
    scores = predict_all(predict, data, preprocessing)
    mirrored_scores = predict_all(predict, data, preprocessing, mirror=True)
    predicted = scores.argmax(axis=1)
    top3 = np.argsort(scores, axis=1)[:, -3:]

    labels = np.union1d(data.labels, predicted)
    by_label = {
        EMOTIONS[label]: _label_figures(predicted == label, data.labels == label)
        for label in labels
    }
    f1 = [figures.f1 for figures in by_label.values()]
    supports = [figures.support for figures in by_label.values()]
    confusion = [
        [int(((data.labels == row) & (predicted == column)).sum()) for column in labels]
        for row in labels
    ]

    measured = measure(scores, data.labels)
    evaluation = Evaluation(
        source=data.name,
        images=len(data),
        accuracy=measured["accuracy"],
        top3=float((top3 == data.labels[:, None]).any(axis=1).mean()),
        loss=measured["loss"],
        macro_f1=measured["macro_f1"],
        weighted_f1=float(np.average(f1, weights=supports)),
        ece=expected_calibration_error(scores, data.labels),
        flip_accuracy=float(((scores + mirrored_scores).argmax(axis=1) == data.labels).mean()),
        by_label=by_label,
        confusion=confusion,
    )
    return evaluation, scores


def predict_all(
    predict: Predict, data: Dataset, preprocessing: Preprocessing, *, mirror: bool = False
) -> NDArray[np.float32]:
    """Scores (n, labels) of every image, or of its mirror image, in the data's order."""
    images = data.images[:, :, ::-1] if mirror else data.images
    starts = range(0, len(data), BATCH_SIZE)
    return np.concatenate(
        [predict(preprocessing.to_input(images[start : start + BATCH_SIZE])) for start in starts]
    )


def measure(scores: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
    """The main figures for scores (n, labels) against the true labels (n,).

    Returns:
        `accuracy`: share of the images whose true label has the highest score, in [0, 1].
        `loss`: mean of -ln(score of the true label), without the penalties on weights that Keras
        adds while fitting.
        `macro_f1`: mean F1 = 2 * hits / (predicted + true) of the labels that occur, in [0, 1];
        rare labels count as much as frequent ones.
    """
    predicted = scores.argmax(axis=1)
    true_scores = scores[np.arange(len(labels)), labels]
    f1 = [_label_figures(predicted == label, labels == label).f1 for label in np.unique(labels)]
    return {
        "accuracy": float((predicted == labels).mean()),
        "loss": float(-np.log(np.clip(true_scores, _MIN_SCORE, 1.0)).mean()),
        "macro_f1": float(np.mean(f1)),
    }


def _label_figures(predicted: NDArray[np.bool_], true: NDArray[np.bool_]) -> LabelFigures:
    """One label's figures. A ratio whose denominator is 0 counts as 0."""
    hits = int((predicted & true).sum())
    predictions = int(predicted.sum())
    support = int(true.sum())
    return LabelFigures(
        precision=hits / max(1, predictions),
        recall=hits / max(1, support),
        f1=2 * hits / (predictions + support),
        support=support,
    )
