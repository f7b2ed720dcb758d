"""What a run leaves for people to read: a report (HTML, whole in one file) and a model card (Markdown)."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import jinja2
import numpy as np
from numpy.typing import NDArray

from models.labels import title
from models.release.release import Release
from trainer.datasets.dataset import Dataset
from trainer.quality.calibration import with_temperature
from trainer.quality.evaluation import Evaluation
from trainer.report import figures

FIGURES: Final = {
    "learning_curves": "Accuracy by epoch: solid on validation images, dashed on those it was fitted to.",
    "confusion_matrix": "Of the images with a label (row), the share that was called each (column).",
    "reliability": "Scores and how often they are right; on the grey line they mean what they say.",
    "examples": "Right and wrong, from the surest to the least sure. These are faces from your data: mind whom you "
    "show this file to.",
}
_TEMPLATES: Final = jinja2.Environment(
    loader=jinja2.PackageLoader("trainer.report"),
    autoescape=jinja2.select_autoescape(("html.j2",)),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters |= {"title": title, "percent": lambda share: f"{share:.1%}"}


def write_report(
    folder: Path,
    release: Release,
    evaluation: Evaluation,
    data: Dataset,
    scores: NDArray[np.float32],
    histories: Mapping[str, Sequence[Mapping[str, float]]] | None = None,
    comparison: Sequence[Mapping[str, Any]] = (),
) -> Path:
    """Writes `report.html` and `figures/*.png` into a folder; returns the report.

    Args:
        data, scores: the images that were evaluated, and their scores (n, labels).
        histories, comparison: by candidate, if it was trained just now; else the learning curve is the release's own.
    """
    own = {release.name: release.training["history"]} if "history" in release.training else {}
    _draw(folder / "figures", release, evaluation, data, scores, histories or own)
    pictures = {
        name: path for name in FIGURES if (path := folder / "figures" / f"{name}.png").exists()
    }
    page = _TEMPLATES.get_template("report.html.j2").render(
        **_facts(release, evaluation),
        comparison=comparison,
        figures=[
            {
                "name": name,
                "caption": FIGURES[name],
                "png": base64.b64encode(path.read_bytes()).decode(),
            }
            for name, path in pictures.items()
        ],
    )
    report = folder / "report.html"
    report.write_text(page, encoding="utf-8")
    return report


def write_card(path: Path, release: Release, evaluation: Evaluation) -> None:
    """Writes the model card that goes with a pickle."""
    path.write_text(
        _TEMPLATES.get_template("card.md.j2").render(**_facts(release, evaluation)),
        encoding="utf-8",
    )


def _facts(release: Release, evaluation: Evaluation) -> dict[str, Any]:
    return {
        "release": release,
        "evaluation": evaluation,
        "parameters": sum(weight.size for weight in release.weights.values()),
        "unseen": [
            label
            for label in release.labels
            if label not in (release.trained_labels or release.labels)
        ],
        "train_images": sum(release.data["train"]["images"].values())
        if "train" in release.data
        else 0,
    }


def _draw(
    folder: Path,
    release: Release,
    evaluation: Evaluation,
    data: Dataset,
    scores: NDArray[np.float32],
    histories: Mapping[str, Sequence[Mapping[str, float]]],
) -> None:
    if histories:
        figures.learning_curves(histories, folder / "learning_curves.png")
    figures.confusion_matrix(evaluation, folder / "confusion_matrix.png")
    curves = {"scores": scores}
    if temperature := release.calibration.get("temperature"):
        curves = {
            "before calibration": with_temperature(scores, 1 / temperature),
            "as shipped": scores,
        }
    figures.reliability_diagram(curves, data.labels, folder / "reliability.png")
    figures.examples(data, scores, release.preprocessing, folder / "examples.png")
