"""Single precision as the shortest decimals."""

import numpy as np
import pytest

from models.store.digits import shortest


@pytest.mark.parametrize(
    "singles",
    [
        np.random.default_rng(1).dirichlet(np.full(28, 0.2), 300).astype(np.float32),
        np.random.default_rng(2).uniform(-180, 180, (90, 31)).astype(np.float32),
        np.array([0, 1, 0.49, 0.1, 1e-45, 9e-13, 1e-12, 999_999.9, 1e6, 3e38, -4.2], np.float32),
    ],
    ids=["scores", "degrees", "extremes"],
)
def test_decimals_are_the_shortest_that_are_the_same_in_single_precision(
    singles: np.ndarray,
) -> None:
    expected = [float(str(value)) for value in singles.ravel()]
    assert np.ravel(shortest(singles.astype(np.float64).tolist())).tolist() == expected


def test_no_values_are_no_decimals() -> None:
    assert shortest([]) == []
