"""Calibrating scores, so that of the predictions with a score of 0.7, seven in ten are right.

Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599.
"""

from dataclasses import asdict, dataclass
from typing import Final

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

BINS: Final = 15

TARGET_ACCURACY: Final = 0.8
"""Accuracy of the predictions whose score is at or above the `uncertain_below` threshold."""

_MIN_SCORE: Final = 1e-12
"""Lower scores count as this, so that their logarithm is finite."""

_LOG_TEMPERATURES: Final = (-3.0, 3.0)
"""The search range of ln(temperature): temperatures from 1/20 to 20."""


@dataclass(frozen=True)
class Calibration:
    """Fitted on validation images; stored in the pickle.

    Attributes:
        temperature: the divisor of the logits. Above 1, the network was overconfident.
        ece_before, ece_after: expected calibration error without and with the temperature.
        uncertain_below: the lowest score at or above which 80 % of the predictions are right;
            1 if there is none. Predictions with lower scores are called uncertain.
        coverage: share of the predictions with a score of at least `uncertain_below`.
    """

    temperature: float
    ece_before: float
    ece_after: float
    uncertain_below: float
    coverage: float

    def to_plain(self) -> dict[str, float]:
        """Plain values for the pickle."""
        return asdict(self)


def calibrate(scores: NDArray[np.float32], labels: NDArray[np.int64]) -> Calibration:
    """Finds the temperature that minimises the cross-entropy, and the threshold that follows.

    Args:
        scores: (n, labels), the network's softmax outputs.
        labels: (n,), the true labels.
    """

    def cross_entropy(log_temperature: float) -> float:
        scaled = with_temperature(scores, np.exp(log_temperature))
        true_scores = scaled[np.arange(len(labels)), labels]
        return float(-np.log(np.clip(true_scores, _MIN_SCORE, 1)).mean())

    optimum = minimize_scalar(cross_entropy, bounds=_LOG_TEMPERATURES, method="bounded")
    temperature = float(np.exp(optimum.x))
    calibrated = with_temperature(scores, temperature)
    threshold, coverage = _find_threshold(calibrated, labels)
    return Calibration(
        temperature,
        expected_calibration_error(scores, labels),
        expected_calibration_error(calibrated, labels),
        threshold,
        coverage,
    )


def with_temperature(scores: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """The softmax of the logits divided by a temperature.

    Args:
        scores: (n, labels), the softmax of the logits themselves.
    """
    logits = np.log(np.clip(scores, _MIN_SCORE, 1)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    scaled: NDArray[np.float32] = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return scaled


def reliability(
    scores: NDArray[np.float32], labels: NDArray[np.int64]
) -> list[tuple[float, float, int]]:
    """Mean top score, accuracy and number of images of each non-empty bin of equal width."""
    top_scores = scores.max(axis=1)
    correct = scores.argmax(axis=1) == labels
    bins = np.minimum((top_scores * BINS).astype(int), BINS - 1)

    rows: list[tuple[float, float, int]] = []
    for number in np.unique(bins):
        members = bins == number
        mean_score = float(top_scores[members].mean())
        accuracy = float(correct[members].mean())
        rows.append((mean_score, accuracy, int(members.sum())))
    return rows


def expected_calibration_error(scores: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The distance between mean top score and accuracy, averaged over 15 bins by their images."""
    bins = reliability(scores, labels)
    return sum(abs(score - accuracy) * count for score, accuracy, count in bins) / len(labels)


def _find_threshold(scores: NDArray[np.float32], labels: NDArray[np.int64]) -> tuple[float, float]:
    """The lowest score at or above which the target accuracy holds, and the share above it."""
    top_scores = scores.max(axis=1)
    order = np.argsort(-top_scores, kind="stable")
    correct = (scores.argmax(axis=1) == labels)[order]
    accuracy = correct.cumsum() / np.arange(1, len(labels) + 1)

    # A threshold cannot separate equal scores, so it can only be where the score changes.
    changes = np.append(np.diff(top_scores[order]) < 0, True)
    reached = np.flatnonzero((accuracy >= TARGET_ACCURACY) & changes)
    if not len(reached):
        return 1.0, 0.0

    last = reached[-1]
    return float(top_scores[order][last]), float((last + 1) / len(labels))


def fold_temperature(model: keras.Model, temperature: float) -> None:
    """Divides the last dense layer's weights, so that its softmax gives the calibrated scores."""
    layer = model.layers[-1]
    layer.set_weights([weight / temperature for weight in layer.get_weights()])
