"""The figures, on scores small enough to calculate by hand."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from models.pictures.preprocessing import Preprocessing
from trainer.datasets.dataset import Dataset
from trainer.quality.evaluation import BATCH_SIZE, LabelFigures, evaluate, measure, predict_all

SCORES = np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.5, 0.4, 0.1]], np.float32)


def test_accuracy_is_the_share_of_highest_scores_that_are_right() -> None:
    assert measure(SCORES, np.array([0, 1, 1, 0]))["accuracy"] == 0.75


def test_loss_is_the_mean_surprise_at_the_true_label() -> None:
    expected = -(math.log(0.7) + math.log(0.3) + math.log(0.8) + math.log(0.5)) / 4
    assert measure(SCORES, np.array([0, 1, 1, 0]))["loss"] == pytest.approx(expected)


def test_a_true_label_scored_zero_is_a_large_loss_not_an_infinite_one() -> None:
    loss = measure(np.array([[1.0, 0.0]], np.float32), np.array([1]))["loss"]
    assert loss == pytest.approx(-math.log(1e-7))


def test_macro_f1_is_the_mean_over_the_labels_that_occur() -> None:
    # Label 0: 2 hits, 3 predicted, 2 true. Label 1: 1 hit, 1 predicted, 2 true. Label 2: 0 true.
    assert measure(SCORES, np.array([0, 1, 1, 0]))["macro_f1"] == pytest.approx((4 / 5 + 2 / 3) / 2)


def test_a_label_that_is_never_predicted_right_counts_as_zero() -> None:
    assert measure(SCORES, np.array([0, 0, 1, 2]))["macro_f1"] == pytest.approx((4 / 5 + 1 + 0) / 3)


def test_predictions_come_in_the_datas_order_over_many_batches() -> None:
    def brightness(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        assert len(batch) <= BATCH_SIZE
        return batch[:, 0, 0, :1]

    count = 2 * BATCH_SIZE + 3
    images = np.tile((np.arange(count) % 256).astype(np.uint8)[:, None, None, None], (1, 8, 8, 3))
    data = Dataset(images, np.zeros(count, np.int64), "made up")
    constants = Preprocessing(height=8, width=8)
    assert (
        predict_all(brightness, data, constants) == constants.to_input(images)[:, 0, 0, :1]
    ).all()


def test_an_evaluation_holds_every_figure_of_the_table() -> None:
    """Three labels. An image's brightness decides which of them scores highest."""
    images = np.zeros((4, 8, 8, 3), np.uint8)
    images[:, 0, 0, 0] = [0, 1, 1, 2]
    data = Dataset(images, np.array([0, 1, 2, 2]), "made up")
    table = np.zeros((3, 28), np.float32)
    table[:, :4] = [[0.6, 0.2, 0.1, 0.1], [0.1, 0.7, 0.05, 0.15], [0.3, 0.1, 0.5, 0.1]]

    def predict(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        seen = np.rint((batch[:, 0, [0, -1], 0] + 1) * 127.5).astype(int)
        scores: NDArray[np.float32] = table[seen.max(axis=1)]
        return scores

    evaluation, scores = evaluate(predict, data, Preprocessing(height=8, width=8))
    assert scores.shape == (4, 28)
    assert (
        evaluation.images,
        evaluation.source,
        evaluation.accuracy,
        evaluation.flip_accuracy,
    ) == (
        4,
        "made up",
        0.75,
        0.75,
    )
    assert evaluation.top3 == 0.75  # The third image's label is fourth.
    assert evaluation.by_label == {
        "affection": LabelFigures(1.0, 1.0, 1.0, 1),
        "anger": LabelFigures(0.5, 1.0, 2 / 3, 1),
        "annoyance": LabelFigures(1.0, 0.5, 2 / 3, 2),
    }
    assert evaluation.macro_f1 == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)
    assert evaluation.weighted_f1 == pytest.approx((1 + 2 / 3 + 2 * 2 / 3) / 4)
    assert evaluation.confusion == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]


def test_a_label_that_is_predicted_but_never_true_has_its_row() -> None:
    data = Dataset(np.zeros((2, 8, 8, 3), np.uint8), np.array([0, 0]), "made up")
    evaluation, _ = evaluate(
        lambda batch: np.eye(28, dtype=np.float32)[[5] * len(batch)], data, Preprocessing(8, 8)
    )
    assert evaluation.by_label == {
        "affection": LabelFigures(0, 0, 0, 1 * 2),
        "confidence": LabelFigures(0, 0, 0, 0),
    }
    assert evaluation.confusion == [[0, 2], [0, 0]]


def test_mirror_images_are_averaged_with_the_images_themselves() -> None:
    data = Dataset(np.zeros((1, 8, 8, 3), np.uint8), np.array([1]), "made up")
    data.images[:, :, 0] = (
        255  # Light at the left: wrong one way, right with a higher score the other.
    )

    def predict(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        left = batch[:, 0, :1, 0] > 0
        return np.where(left, [[0.55, 0.45]], [[0.2, 0.8]]).astype(np.float32)

    evaluation, _ = evaluate(predict, data, Preprocessing(8, 8))
    assert (evaluation.accuracy, evaluation.flip_accuracy) == (0.0, 1.0)
