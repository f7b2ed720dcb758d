"""Sources that several of these tests read."""

from pathlib import Path

import numpy as np
import pytest

from tests.builders import save_grey


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images of two labels, one by our name for it and one by FER-2013's."""
    root = tmp_path / "faces" / "train"
    save_grey(root / "happy" / "b.png", 20)
    save_grey(root / "happy" / "a.png", 10)
    save_grey(root / "doubt_confusion" / "c.png", 30)
    return root


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """Four images: blue, in B, G, R."""
    images = np.zeros((4, 8, 8, 3), np.uint8)
    images[..., 0] = np.arange(200, 204)[:, None, None]
    np.save(tmp_path / "train_data.npy", images)
    np.save(tmp_path / "train_labels.npy", np.array([0, 27, 16, 1], np.int32))
    return tmp_path / "train_data.npy"
