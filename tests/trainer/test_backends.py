"""Training on another backend of Keras, as a process of its own, which must choose it first."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def test_a_training_on_jax_resumes_and_ends_in_a_release(tmp_path: Path) -> None:
    program = subprocess.run(
        [sys.executable, "-m", "tests.trainer.other_backend", str(tmp_path)],
        env=os.environ | {"KERAS_BACKEND": "jax"},
        check=True,
        text=True,
        stdout=subprocess.PIPE,
    )
    backend, whole, resumed = program.stdout.split()
    assert backend == "jax"
    assert float(whole) == pytest.approx(float(resumed), rel=1e-4)
