"""How good a network is on labelled images it was not fitted to."""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.preprocessing import Preprocessing
from trainer.data import Dataset

Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Inputs (n, height, width, 3) to scores (n, labels): an engine's `predict`, or Keras' `predict_on_batch`."""

BATCH_SIZE: Final = 256
_SMALLEST: Final = 1e-7  # A score below it counts as it, as in Keras, so that one sure mistake isn't an infinite loss.


def predict_all(predict: Predict, data: Dataset, preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Scores (n, labels) of every image, in the data's order."""
    starts = range(0, len(data), BATCH_SIZE)
    inputs = (preprocessing.to_input(data.images[start : start + BATCH_SIZE]) for start in starts)
    return np.concatenate([predict(batch) for batch in inputs])


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
        "macro_f1": float(np.mean([_f1(predicted == label, labels == label) for label in np.unique(labels)])),
    }


def _f1(predicted: NDArray[np.bool_], true: NDArray[np.bool_]) -> float:
    return float(2 * (predicted & true).sum() / (predicted.sum() + true.sum()))
