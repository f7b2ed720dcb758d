"""`cuemill models`. tests/integration imports and quantizes models."""

from dataclasses import replace
from pathlib import Path

from models.release.files import save_release
from tests.builders import tiny_release
from tests.integration.deployment import Deployment


def test_models_are_listed_and_promoted(cuemill: Deployment, tmp_path: Path) -> None:
    other = tmp_path / "other.pkl"
    save_release(replace(tiny_release(), name="other", trained_labels=("fear",)), other)

    assert "* tiny" in " ".join(cuemill.run("models", "list").stdout.split())
    assert cuemill.run("models", "promote", other).stderr.startswith("New jobs use other (")
    rows = cuemill.run("models", "list").stdout.splitlines()
    (promoted,) = [row.split() for row in rows if row.startswith("*")]
    assert promoted[1] == "other"
    assert promoted[-4:] == ["1", "of", "28:", "Fear"]


def test_a_listed_model_has_exactly_these_fields_in_json(cuemill: Deployment) -> None:
    (model,) = cuemill.json("models", "list")
    assert list(model) == [
        "id",
        "sha256",
        "name",
        "path",
        "labels",
        "trained_labels",
        "metrics",
        "is_default",
        "created_at",
    ]
    assert model["created_at"].endswith("Z")


def test_a_pickle_and_its_release_are_described_alike(
    cuemill: Deployment, tiny_model: Path
) -> None:
    cuemill.run("models", "promote", tiny_model)
    described = cuemill.run("models", "inspect", tiny_model).stdout
    assert '"name": "tiny"' in described
    assert cuemill.run("models", "inspect", "tiny").stdout == described
