"""`cuemill train`. tests/integration trains in processes of their own."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

from cli.main import app
from models.labels import EMOTIONS
from models.release.files import load_release
from trainer.candidates import CANDIDATES


def test_several_candidates_end_in_one_table_and_the_pickle_of_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = replace(CANDIDATES["model1"], name="quick", epochs=3)
    for candidate in (
        quick,
        replace(quick, name="idle", optimizer=lambda _steps: keras.optimizers.SGD(0.0)),
    ):
        monkeypatch.setitem(CANDIDATES, candidate.name, candidate)
    monkeypatch.setenv("CUEMILL_DATA_DIR", str(tmp_path / "data"))
    images = np.full((60, 48, 48, 3), 60, np.uint8)
    images[20:] += 120
    images += np.random.default_rng(0).integers(0, 60, images.shape, np.uint8)
    np.save(tmp_path / "faces_data.npy", images)
    np.save(
        tmp_path / "faces_labels.npy",
        np.repeat([EMOTIONS.index("sadness"), EMOTIONS.index("happiness")], [20, 40]),
    )
    command = [
        "train",
        "--data",
        f"{tmp_path}/faces_data.npy",
        "--candidates",
        "idle, quick",
        "--select-by",
        "macro-f1",
    ]
    done = CliRunner().invoke(app, [*command, "-o", f"{tmp_path}/best.pkl"])
    assert done.exit_code == 0, done.output
    said = [" ".join(line.split()) for line in done.output.splitlines()]
    assert {"label train validation", "Happiness 32 8", "Sadness 16 4", "all 48 12"} <= set(said)
    rows = [line.split(" ") for line in said if line.startswith(("idle 334,162", "quick 334,162"))]
    assert [row[0] for row in rows] == ["idle", "quick"]
    assert float(rows[0][-2]) < float(rows[1][-2])
    assert load_release(tmp_path / "best.pkl").training["candidate"] == "quick"
    assert (tmp_path / "data" / "runs" / "idle-quick" / "report.html").exists()
