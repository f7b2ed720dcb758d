"""The weights: only plain arrays of the right shape, in the file itself."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from models.errors import (
    EngineError,
    PickleCorruptError,
)
from tests.trainer.keras_import.pickles import KERNEL, option, put, repacked, weights
from trainer.keras_import.read import import_keras


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (option(1, filters=2**20), r"shape \(3, 3, 3, 4\), expected \(3, 3, 3, 1048576\)"),
        (option(1, filters=5), r"shape \(3, 3, 3, 4\), expected \(3, 3, 3, 5\)"),
        (weights(lambda h: h["layers"].pop("dense_1")), "its weights have no dense number 1"),
        (weights(lambda h: h["layers/dense/vars"].pop("1")), "layers/dense/vars/1 is missing"),
        (
            weights(lambda h: h[KERNEL].write_direct(np.full((3, 3, 3, 4), np.nan, np.float32))),
            "that are not finite",
        ),
        (
            weights(
                lambda h: put(h, KERNEL, lambda f: f.create_dataset(KERNEL, (3, 3, 3, 4), "f8"))
            ),
            "is missing, or is not a plain float32 array",
        ),
        (
            weights(
                lambda h: put(
                    h,
                    KERNEL,
                    lambda f: f.create_dataset(KERNEL, (3, 3, 3, 4), "f4", compression="gzip"),
                )
            ),
            "is missing, or is not a plain float32 array",
        ),
        (
            weights(
                lambda h: put(
                    h,
                    KERNEL,
                    lambda f: f.__setitem__(KERNEL, h5py.ExternalLink("/etc/passwd", "/")),
                )
            ),
            "its weights hold a link",
        ),
        (
            weights(
                lambda h: put(
                    h,
                    KERNEL,
                    lambda f: f.__setitem__(KERNEL, h5py.SoftLink("/layers/dense/vars/0")),
                )
            ),
            "its weights hold a link",
        ),
        (
            weights(
                lambda h: put(
                    h,
                    KERNEL,
                    lambda f: f.create_dataset(
                        KERNEL, (3, 3, 3, 4), "f4", external=[("/etc/passwd", 0, 432)]
                    ),
                )
            ),
            "is missing, or is not a plain float32 array",
        ),
    ],
)
def test_weights_that_are_not_plain_or_do_not_fit_are_refused(
    tmp_path: Path, change: Callable[[dict[str, bytes]], object], said: str
) -> None:
    (tmp_path / "model.pkl").write_bytes(repacked(change))
    with pytest.raises((PickleCorruptError, EngineError), match=said):
        import_keras(tmp_path / "model.pkl")
