"""Calibration: figures worked out by hand, and a network whose scores mean what they say afterwards."""

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
    """Scores that are off by a temperature, and labels drawn from the scores as they should be."""
    random = np.random.default_rng(0)
    true = random.dirichlet(np.full(5, 0.4), count).astype(np.float32)
    labels = (random.random((count, 1)) > true.cumsum(axis=1)).sum(axis=1).clip(max=4)
    return with_temperature(true, 1 / temperature), labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_is_found_and_mends_the_scores(temperature: float) -> None:
    scores, labels = drawn(temperature)
    found = calibrate(scores, labels)
    assert found.temperature == pytest.approx(temperature, rel=0.03)
    assert found.ece_after < 0.015
    assert found.ece_before == pytest.approx(expected_calibration_error(scores, labels))
    assert temperature == 1.0 or found.ece_before > 5 * found.ece_after


def test_the_error_is_the_mean_distance_between_score_and_share_of_right_ones() -> None:
    scores = np.array([[0.95, 0.05], [0.95, 0.05], [0.6, 0.4], [0.6, 0.4]], np.float32)
    labels = np.array([0, 1, 0, 0])
    assert np.allclose(reliability(scores, labels), [(0.6, 1.0, 2), (0.95, 0.5, 2)])
    assert expected_calibration_error(scores, labels) == pytest.approx((0.4 + 0.45) / 2)


def test_at_or_above_the_threshold_four_in_five_are_right() -> None:
    scores, labels = drawn(1.0)
    found = calibrate(scores, labels)
    after = with_temperature(scores, found.temperature)
    sure = after.max(axis=1) >= found.uncertain_below
    assert (after.argmax(axis=1) == labels)[sure].mean() == pytest.approx(0.8, abs=0.001)
    assert sure.mean() == pytest.approx(found.coverage)
    assert 0.2 < found.coverage < 0.9


def test_what_is_never_right_is_always_uncertain() -> None:
    scores = np.tile(np.array([0.7, 0.3], np.float32), (10, 1))
    found = calibrate(scores, np.ones(10, np.int64))
    assert (found.uncertain_below, found.coverage) == (1.0, 0.0)


def test_equal_scores_are_all_sure_or_none() -> None:
    scores = np.tile(np.array([0.7, 0.3], np.float32), (10, 1))
    labels = np.array([0] * 9 + [1])
    found = calibrate(scores, labels)
    assert found.coverage == 1.0


@pytest.mark.parametrize("name", ["model3", "cuemill1"])
def test_a_folded_temperature_is_the_networks_own(name: str) -> None:
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
