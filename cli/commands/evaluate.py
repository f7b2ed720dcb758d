"""`cuemill evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.context import connect, trainer_extra
from cli.options import Json, LabelledImages, ModelName
from cli.output import err, figures_table, out, print_json
from cli.progress import TrainingBars
from models.labels import title
from models.release.files import load_release
from models.store import releases

if TYPE_CHECKING:
    from trainer.quality.evaluation import Evaluation

app = typer.Typer()


@app.command("evaluate")
def evaluate_model(
    model: ModelName,
    data: LabelledImages,
    report: Annotated[
        Path | None, typer.Option(help="Folder for an HTML report and its figures.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure a model's accuracy, calibration and confusion on labelled images.

    Requires `cuemill[trainer]`.
    """
    with trainer_extra():
        from trainer.datasets.load import load
        from trainer.quality.evaluation import evaluate
        from trainer.quality.pictures import PictureKind, warn_of_evaluation
        from trainer.report.write import write_report
        from worker.engines.load import load_engine

    settings, db = connect()
    row = releases.get(db, releases.resolve(db, model, settings.model))
    release = load_release(releases.locate(row, settings.model), row.sha256)

    with TrainingBars() as bars:
        images = load(data, release.preprocessing, bars.read)
        trained = PictureKind.from_plain(release.data.get("train", {}).get("pictures"))
        kind = PictureKind.of(images.images).seen_by(release.preprocessing)
        for text in warn_of_evaluation(kind, trained):
            bars.warning(text)

        bars.note("measuring")
        engine = load_engine(release, settings)
        evaluation, scores = evaluate(engine.predict, images, release.preprocessing)

    if report:
        report_file = write_report(report, release, evaluation, images, scores)
        err.print(f"Report: {report_file}")

    if as_json:
        print_json({**evaluation.to_plain(), "precision": engine.precision})
    else:
        _print_evaluation(evaluation, engine.precision)


def _print_evaluation(evaluation: "Evaluation", precision: str) -> None:
    table = figures_table("label", ["precision", "recall", "f1", "support"])
    for label, figures in evaluation.by_label.items():
        table.add_row(
            title(label),
            f"{figures.precision:.2f}",
            f"{figures.recall:.2f}",
            f"{figures.f1:.2f}",
            f"{figures.support:,}",
        )
    out.print(table)

    totals = {
        "accuracy": evaluation.accuracy,
        "top three": evaluation.top3,
        "macro F1": evaluation.macro_f1,
        "weighted F1": evaluation.weighted_f1,
        "calibration error": evaluation.ece,
        "accuracy with mirror image": evaluation.flip_accuracy,
    }
    for name, value in totals.items():
        out.print(f"{name:<28}{value:.4f}")

    out.print(f"{'computed in':<28}{precision}, like workers on this machine")
