"""Making scores mean what they say: of the predictions scored 0.7, seven in ten should be right.

Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599.
"""

from dataclasses import asdict, dataclass
from typing import Final

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

BINS: Final = 15
SURE: Final = (
    0.8  # The share of predictions that are to be right at or above the `uncertain` threshold.
)
_SMALLEST: Final = 1e-12
_RANGE: Final = (-3.0, 3.0)  # ln(temperature): from a twentieth to twenty.


@dataclass(frozen=True)
class Calibration:
    """Fitted on validation images; kept in the pickle.

    Attributes:
        temperature: what the logits are divided by; above 1 the network was too sure of itself.
        ece_before, ece_after: expected calibration error without and with it.
        uncertain_below: scores below it are called uncertain: from it on upwards, 80 % of predictions were right. 1 if
            that can't be reached.
        coverage: the share of predictions at or above it.
    """

    temperature: float
    ece_before: float
    ece_after: float
    uncertain_below: float
    coverage: float

    def to_plain(self) -> dict[str, float]:
        """For the pickle."""
        return asdict(self)


def calibrate(scores: NDArray[np.float32], labels: NDArray[np.int64]) -> Calibration:
    """Finds the temperature with the least mean of -ln(score of the true label), and the threshold after it.

    Args:
        scores: (n, labels), as a network gives them.
        labels: (n,), the true ones.
    """

    def loss(log_temperature: float) -> float:
        truth = with_temperature(scores, np.exp(log_temperature))[np.arange(len(labels)), labels]
        return float(-np.log(np.clip(truth, _SMALLEST, 1)).mean())

    temperature = float(np.exp(minimize_scalar(loss, bounds=_RANGE, method="bounded").x))
    after = with_temperature(scores, temperature)
    threshold, coverage = _threshold(after, labels)
    return Calibration(
        temperature,
        expected_calibration_error(scores, labels),
        expected_calibration_error(after, labels),
        threshold,
        coverage,
    )


def with_temperature(scores: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """What the softmax would have given for the logits divided by the temperature; (n, labels) to the same."""
    logits = np.log(np.clip(scores, _SMALLEST, 1)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    scaled: NDArray[np.float32] = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return scaled


def reliability(
    scores: NDArray[np.float32], labels: NDArray[np.int64]
) -> list[tuple[float, float, int]]:
    """Mean highest score, share of right predictions and number of images, for each bin of equal width that has any."""
    highest, right = scores.max(axis=1), scores.argmax(axis=1) == labels
    bins = np.minimum((highest * BINS).astype(int), BINS - 1)
    members = [bins == number for number in np.unique(bins)]
    return [(float(highest[m].mean()), float(right[m].mean()), int(m.sum())) for m in members]


def expected_calibration_error(scores: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The mean distance, over images, between a bin's mean score and its share of right predictions; 15 bins."""
    return sum(
        abs(score - right) * count for score, right, count in reliability(scores, labels)
    ) / len(labels)


def _threshold(scores: NDArray[np.float32], labels: NDArray[np.int64]) -> tuple[float, float]:
    """The lowest score from which on upwards `SURE` of the predictions are right, and the share of them."""
    highest = scores.max(axis=1)
    order = np.argsort(-highest, kind="stable")
    right = (scores.argmax(axis=1) == labels)[order].cumsum() / np.arange(1, len(labels) + 1)
    # Only where the score changes: predictions with one score are all above a threshold, or none is.
    ends = np.append(np.diff(highest[order]) < 0, True)
    reached = np.flatnonzero((right >= SURE) & ends)
    if not len(reached):
        return 1.0, 0.0
    return float(highest[order][reached[-1]]), float((reached[-1] + 1) / len(labels))


def fold_temperature(model: keras.Model, temperature: float) -> None:
    """Divides the last dense layer's weights, so that the network's own softmax gives the calibrated scores."""
    layer = model.layers[-1]
    layer.set_weights([weight / temperature for weight in layer.get_weights()])
