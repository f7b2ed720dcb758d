"""The figures, on scores small enough to reckon by hand."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from models.preprocessing import Preprocessing
from trainer.data import Dataset
from trainer.evaluate import BATCH_SIZE, measure, predict_all

SCORES = np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.5, 0.4, 0.1]], np.float32)


def test_accuracy_is_the_share_of_highest_scores_that_are_right() -> None:
    assert measure(SCORES, np.array([0, 1, 1, 0]))["accuracy"] == 0.75


def test_loss_is_the_mean_surprise_at_the_true_label() -> None:
    expected = -(math.log(0.7) + math.log(0.3) + math.log(0.8) + math.log(0.5)) / 4
    assert measure(SCORES, np.array([0, 1, 1, 0]))["loss"] == pytest.approx(expected)


def test_a_true_label_scored_zero_is_a_large_loss_not_an_infinite_one() -> None:
    loss = measure(np.array([[1.0, 0.0]], np.float32), np.array([1]))["loss"]
    assert loss == pytest.approx(-math.log(1e-7))


def test_macro_f1_is_the_mean_over_the_labels_there_are() -> None:
    # Label 0: 2 hits, 3 predicted, 2 true. Label 1: 1 hit, 1 predicted, 2 true. Label 2 is never true.
    assert measure(SCORES, np.array([0, 1, 1, 0]))["macro_f1"] == pytest.approx((4 / 5 + 2 / 3) / 2)


def test_a_label_that_is_never_hit_counts_as_nought() -> None:
    assert measure(SCORES, np.array([0, 0, 1, 2]))["macro_f1"] == pytest.approx((4 / 5 + 1 + 0) / 3)


def test_predictions_come_in_the_datas_order_over_many_batches() -> None:
    def brightness(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        assert len(batch) <= BATCH_SIZE
        return batch[:, 0, 0, :1]

    count = 2 * BATCH_SIZE + 3
    images = np.tile((np.arange(count) % 256).astype(np.uint8)[:, None, None, None], (1, 8, 8, 3))
    data = Dataset(images, np.zeros(count, np.int64), "made up")
    constants = Preprocessing(height=8, width=8)
    assert (predict_all(brightness, data, constants) == constants.to_input(images)[:, 0, 0, :1]).all()
