"""The report (HTML in a single file) and the model card (Markdown) of a training."""

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

CAPTIONS: Final = {
    "learning_curves": "Accuracy by epoch: solid on validation images, dashed on training images.",
    "confusion_matrix": "For the images of each label (row), the share predicted as each label "
    "(column).",
    "reliability": "Accuracy of predictions by score. On the grey line, score and accuracy agree.",
    "examples": "Right and wrong predictions, from the highest score to the lowest. These are "
    "faces from your data: consider who may see this file.",
}
"""The figures in the order of the report."""

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
    """Writes `report.html` and `figures/*.png` into a folder.

    Args:
        data, scores: the images that were evaluated, and their scores (n, labels).
        histories, comparison: by candidate, right after a training. Without histories, the learning
            curve is the one that the release was trained with.

    Returns:
        The report's path.
    """
    if not histories and "history" in release.training:
        histories = {release.name: release.training["history"]}
    _draw(folder / "figures", release, evaluation, data, scores, histories or {})

    embedded = []
    for name, caption in CAPTIONS.items():
        picture = folder / "figures" / f"{name}.png"
        if picture.exists():
            png = base64.b64encode(picture.read_bytes()).decode()
            embedded.append({"name": name, "caption": caption, "png": png})

    page = _TEMPLATES.get_template("report.html.j2").render(
        **_variables(release, evaluation), comparison=comparison, figures=embedded
    )
    report = folder / "report.html"
    report.write_text(page, encoding="utf-8")
    return report


def write_card(path: Path, release: Release, evaluation: Evaluation) -> None:
    """Writes the model card that accompanies a pickle."""
    card = _TEMPLATES.get_template("card.md.j2").render(**_variables(release, evaluation))
    path.write_text(card, encoding="utf-8")


def _variables(release: Release, evaluation: Evaluation) -> dict[str, Any]:
    """What both templates use."""
    # An imported release does not say what it was trained on.
    trained_labels = release.trained_labels or release.labels
    train_images = 0
    if "train" in release.data:
        train_images = sum(release.data["train"]["images"].values())
    return {
        "release": release,
        "evaluation": evaluation,
        "parameters": sum(weight.size for weight in release.weights.values()),
        "untrained": [label for label in release.labels if label not in trained_labels],
        "train_images": train_images,
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
            "as released": scores,
        }
    figures.reliability_diagram(curves, data.labels, folder / "reliability.png")
    figures.examples(data, scores, release.preprocessing, folder / "examples.png")
