"""The card and the report, filled in for a small release."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.labels import EMOTIONS
from models.release.release import Int8, Release
from tests.builders import tiny_release
from trainer.datasets.dataset import Dataset
from trainer.quality.evaluation import Evaluation, LabelFigures
from trainer.report.write import CAPTIONS, write_card, write_report

TRAINED = Path("models/trained")


@pytest.fixture
def release() -> Release:
    return replace(
        tiny_release(),
        trained_labels=("anger", "fear"),
        data={
            "train": {"source": "faces/train", "images": {"anger": 1200, "fear": 3}, "dropped": 2},
            "validation": {"source": "faces/val", "images": {"anger": 1, "fear": 1}},
        },
        training={
            "candidate": "tiny",
            "epochs": 2,
            "teachers": ["ab12", "cd34"],
            "start": "",
            "history": [{"accuracy": 0.5, "val_accuracy": 0.4}] * 2,
        },
        calibration={
            "temperature": 1.25,
            "ece_before": 0.09,
            "ece_after": 0.01,
            "uncertain_below": 0.6,
            "coverage": 0.5,
        },
        int8=Int8({}, accuracy=0.49, accuracy_f32=0.5, images=2),
        sha256="ef56",
    )


@pytest.fixture
def evaluation() -> Evaluation:
    figures = LabelFigures(0.5, 1.0, 2 / 3, 1)
    by_label = {"anger": figures, "fear": figures}
    return Evaluation(
        "faces/val", 2, 0.5, 1.0, 0.7, 0.6, 0.65, 0.02, 0.75, by_label, [[1, 0], [1, 0]]
    )


def test_a_card_states_data_figures_and_limits(
    tmp_path: Path, release: Release, evaluation: Evaluation
) -> None:
    write_card(tmp_path / "card.md", release, evaluation)
    card = (tmp_path / "card.md").read_text()
    assert "| trained labels | 2 of 28: Anger, Fear |" in card
    assert "| untrained labels | Affection, " in card
    assert "faces/train: 1,203 images (Anger 1,200, Fear 3); 2 others were removed" in card
    assert "| teachers | ab12, cd34 |" in card
    assert "started from" not in card
    assert "| accuracy | 0.5000 on 2 images of faces/val" in card
    assert "scores below 0.60; 50.0% of the predictions" in card
    assert "0.4900 against 0.5000 in float32, on 2 images; the loss is too large" in card
    assert "| Fear | 0.50 | 1.00 | 0.67 | 1 |" in card
    assert "**The other 26 labels** need training data" in card


def test_a_card_of_an_imported_release_says_that_its_labels_are_unknown(
    tmp_path: Path, evaluation: Evaluation
) -> None:
    imported = replace(tiny_release(), trained_labels=(), data={"imported": {"file": "x.pkl"}})
    write_card(tmp_path / "card.md", imported, evaluation)
    card = (tmp_path / "card.md").read_text()
    assert "| trained labels | unknown |" in card
    assert "untrained labels" not in card
    assert "The other" not in card


def test_a_report_holds_all_figures_in_one_file(
    tmp_path: Path, release: Release, evaluation: Evaluation
) -> None:
    images = np.zeros((2, 48, 48, 3), np.uint8)
    labels = np.array([EMOTIONS.index("anger"), EMOTIONS.index("fear")])
    scores = np.full((2, 28), 0.01, np.float32)
    scores[:, labels[0]] = 0.73
    data = Dataset(images, labels, "faces/val")
    page = write_report(tmp_path, release, evaluation, data, scores).read_text()
    assert page.count("data:image/png;base64,") == len(CAPTIONS)
    assert "trained on 2 of 28 labels" in page
    assert "a temperature of 1.25" in page
    assert "http" not in page


@pytest.mark.parametrize("name", ["Cuemill1", "Model3"])
def test_shipped_cards_have_the_templates_wording(
    tmp_path: Path, release: Release, evaluation: Evaluation, name: str
) -> None:
    """They were filled in with their own figures; every fixed paragraph must be the template's."""
    write_card(tmp_path / "card.md", release, evaluation)
    paragraphs = (tmp_path / "card.md").read_text().split("\n\n")
    shipped = (TRAINED / f"{name}_trained.md").read_text()
    fixed = [
        paragraph
        for paragraph in paragraphs
        if paragraph.startswith(("**Intended use", "**A predicted", "**Limits", "```sh"))
    ]
    assert len(fixed) == 4
    assert all(paragraph in shipped for paragraph in fixed)
