"""The figures of a report, as PNG files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from models.labels import EMOTIONS, title
from models.pictures.preprocessing import Preprocessing
from trainer.datasets.dataset import Dataset
from trainer.quality.calibration import reliability
from trainer.quality.evaluation import Evaluation

COLOURS: Final = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
    "#999999",
)
"""Distinguishable with colour blindness too (Okabe and Ito 2008)."""

EXAMPLES: Final = 8
"""Faces per row of the examples."""

_STYLE: Final[dict[Any, Any]] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "savefig.dpi": 120,
}


def learning_curves(histories: Mapping[str, Sequence[Mapping[str, float]]], path: Path) -> None:
    """Accuracy by epoch for each run: dashed in training, solid in validation, with its best."""
    figure, (axes,) = _canvas(7.5, 4.2)
    for colour, (name, history) in zip(COLOURS * 9, histories.items(), strict=False):
        epochs = np.arange(1, len(history) + 1)
        training = [epoch["accuracy"] for epoch in history]
        validation = np.array([epoch["val_accuracy"] for epoch in history])
        best = int(validation.argmax())
        label = f"{name}  {validation[best]:.1%} at {best + 1}"

        axes.plot(epochs, training, "--", color=colour, alpha=0.5, linewidth=1)
        axes.plot(epochs, validation, color=colour, linewidth=1.8, label=label)
        axes.plot(best + 1, validation[best], "o", color=colour, markersize=5)

    axes.set(xlabel="epoch", ylabel="accuracy (solid: validation, dashed: training)")
    axes.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1, 0))
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
    axes.legend(frameon=False, fontsize=9)
    _save(figure, path)


def confusion_matrix(evaluation: Evaluation, path: Path) -> None:
    """For the images of each label (row), the share predicted as each label (column)."""
    names = list(evaluation.by_label)
    rows = [i for i, figures in enumerate(evaluation.by_label.values()) if figures.support]
    counts = np.array(evaluation.confusion, float)[rows]
    shares = counts / counts.sum(axis=1, keepdims=True)

    figure, (axes,) = _canvas(2.2 + 0.55 * len(names), 1.6 + 0.5 * len(rows))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > 0.5 else "#333333"
        axes.text(column, row, f"{share:.0%}", ha="center", va="center", color=colour, fontsize=9)

    axes.set_xticks(range(len(names)), [title(name) for name in names], rotation=35, ha="right")
    axes.set_yticks(range(len(rows)), [title(names[row]) for row in rows])
    axes.set(xlabel="predicted", ylabel="true label")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    _save(figure, path)


def reliability_diagram(
    curves: Mapping[str, NDArray[np.float32]], labels: NDArray[np.int64], path: Path
) -> None:
    """Accuracy by score for each named array of scores; below it, the share of images by score."""
    figure, (upper, lower) = _canvas(4.8, 5, rows=2, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color="#aaaaaa", linewidth=1)
    for colour, (name, scores) in zip(COLOURS, curves.items(), strict=False):
        means, accuracies, counts = zip(*reliability(scores, labels), strict=True)
        upper.plot(means, accuracies, "o-", color=colour, markersize=4, label=name)
        lower.plot(means, np.array(counts) / len(labels), "o-", color=colour, markersize=3)

    upper.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    upper.legend(frameon=False, loc="upper left", fontsize=9)
    lower.set(xlabel="score of the prediction", ylabel="images", xlim=(0, 1), ylim=(0, None))
    lower.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1, 0))
    _save(figure, path)


def examples(
    data: Dataset, scores: NDArray[np.float32], preprocessing: Preprocessing, path: Path
) -> None:
    """A row of right and a row of wrong predictions, from the highest score to the lowest."""
    right = scores.argmax(axis=1) == data.labels
    rows = [("right", np.flatnonzero(right)), ("wrong", np.flatnonzero(~right))]

    figure = Figure(figsize=(1.35 * EXAMPLES, 4.1), layout="constrained")
    for row, (name, members) in enumerate(rows):
        by_score = members[np.argsort(-scores[members].max(axis=1), kind="stable")]
        count = min(EXAMPLES, len(by_score))
        chosen = by_score[np.linspace(0, len(by_score) - 1, count).astype(int)]

        for column in range(EXAMPLES):
            axes = figure.add_subplot(2, EXAMPLES, row * EXAMPLES + column + 1)
            axes.axis("off")
            if column < len(chosen):
                _show_face(axes, data, int(chosen[column]), scores, preprocessing)
            if column == 0:
                axes.set_title(f"{name}:", loc="left", fontsize=10, fontweight="bold")
    _save(figure, path)


def _show_face(
    axes: Axes, data: Dataset, index: int, scores: NDArray[np.float32], constants: Preprocessing
) -> None:
    order = slice(None, None, -1 if constants.channel_order == "bgr" else 1)
    axes.imshow(data.images[index][..., order])
    predicted = int(scores[index].argmax())
    text = f"{title(EMOTIONS[predicted])} {scores[index].max():.2f}"
    if predicted != data.labels[index]:
        text += f"\nnot {title(EMOTIONS[data.labels[index]])}"
    axes.text(0.5, -0.04, text, transform=axes.transAxes, ha="center", va="top", fontsize=8.5)


def _canvas(width: float, height: float, rows: int = 1, **grid: Any) -> tuple[Figure, list[Axes]]:
    """A figure outside pyplot, which would open windows and keep every figure in memory."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(rows, 1, squeeze=False, gridspec_kw=grid)
    return figure, list(axes[:, 0])


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=_STYLE["savefig.dpi"])
