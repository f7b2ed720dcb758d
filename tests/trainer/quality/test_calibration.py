"""Calibration, on figures calculated by hand and on networks."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.networks import pictures, randomise
from trainer.candidates import CANDIDATES
from trainer.quality.calibration import (
    Calibration,
    calibrate,
    expected_calibration_error,
    fold_temperature,
    reliability,
    with_temperature,
)

Scores = NDArray[np.float32]


def drawn(temperature: float, count: int = 20_000) -> tuple[Scores, NDArray[np.int64]]:
    """Scores distorted by a temperature, and labels drawn from the undistorted scores."""
    random = np.random.default_rng(0)
    true = random.dirichlet(np.full(5, 0.4), count).astype(np.float32)
    labels = (random.random((count, 1)) > true.cumsum(axis=1)).sum(axis=1).clip(max=4)
    return with_temperature(true, 1 / temperature), labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_is_found_and_corrects_the_scores(temperature: float) -> None:
    scores, labels = drawn(temperature)
    calibration = calibrate(scores, labels)
    assert calibration.temperature == pytest.approx(temperature, rel=0.03)
    assert calibration.ece_after < 0.015
    assert calibration.ece_before == pytest.approx(expected_calibration_error(scores, labels))
    assert temperature == 1.0 or calibration.ece_before > 5 * calibration.ece_after


def test_the_error_is_the_mean_distance_between_score_and_accuracy() -> None:
    scores = np.array([[0.95, 0.05], [0.95, 0.05], [0.6, 0.4], [0.6, 0.4]], np.float32)
    labels = np.array([0, 1, 0, 0])
    assert np.allclose(reliability(scores, labels), [(0.6, 1.0, 2), (0.95, 0.5, 2)])
    assert expected_calibration_error(scores, labels) == pytest.approx((0.4 + 0.45) / 2)


def test_at_or_above_the_threshold_four_in_five_are_right() -> None:
    scores, labels = drawn(1.0)
    calibration = calibrate(scores, labels)
    after = with_temperature(scores, calibration.temperature)
    sure = after.max(axis=1) >= calibration.uncertain_below
    assert (after.argmax(axis=1) == labels)[sure].mean() == pytest.approx(0.8, abs=0.001)
    assert sure.mean() == pytest.approx(calibration.coverage)
    assert 0.2 < calibration.coverage < 0.9


def test_predictions_that_are_never_right_are_all_uncertain() -> None:
    scores = np.tile(np.array([0.7, 0.3], np.float32), (10, 1))
    calibration = calibrate(scores, np.ones(10, np.int64))
    assert (calibration.uncertain_below, calibration.coverage) == (1.0, 0.0)


def test_equal_scores_are_all_certain_or_all_uncertain() -> None:
    scores = np.tile(np.array([0.7, 0.3], np.float32), (10, 1))
    labels = np.array([0] * 9 + [1])
    calibration = calibrate(scores, labels)
    assert calibration.coverage == 1.0


@pytest.mark.parametrize("name", ["model3", "cuemill1"])
def test_a_network_with_a_folded_temperature_gives_calibrated_scores(name: str) -> None:
    model = randomise(CANDIDATES[name].build((48, 48, 3), 28))
    before = model.predict_on_batch(pictures(12))
    fold_temperature(model, 1.7)
    assert np.abs(model.predict_on_batch(pictures(12)) - with_temperature(before, 1.7)).max() < 1e-5


def test_a_calibration_becomes_plain_values() -> None:
    assert Calibration(1.5, 0.1, 0.02, 0.6, 0.5).to_plain() == {
        "temperature": 1.5,
        "ece_before": 0.1,
        "ece_after": 0.02,
        "uncertain_below": 0.6,
        "coverage": 0.5,
    }
