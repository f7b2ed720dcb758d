"""Releases with random weights, exported from Keras as the trainer does."""

import pytest

from models.labels import EMOTIONS
from models.pictures.preprocessing import Preprocessing
from models.release.release import Release
from tests.networks import branching, exported, randomise, varied
from trainer.candidates import model3


@pytest.fixture(scope="session")
def branches() -> Release:
    return exported(randomise(branching((20, 25, 3))), Preprocessing(height=20, width=25))


@pytest.fixture(scope="session")
def variety() -> Release:
    return exported(randomise(varied((20, 25, 3))), Preprocessing(height=20, width=25))


@pytest.fixture(scope="session")
def release() -> Release:
    """Model 3 with random weights, whose scores spread over most labels."""
    return exported(randomise(model3((48, 48, 3), len(EMOTIONS))), Preprocessing())
