"""`cuemill train`."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.context import load, trainer_extra
from cli.output import err, figures_table, out
from cli.progress import TrainingBars
from models.atomic import make_private
from models.labels import EMOTIONS, title
from models.release.files import load_release

app = typer.Typer()


class SelectBy(StrEnum):
    ACCURACY = "accuracy"
    MACRO_F1 = "macro-f1"


@app.command("train")
def train_candidates(
    data: Annotated[
        list[str],
        typer.Option(
            metavar="SOURCE",
            help="Labelled images to train on. Repeat the option to merge several sources.",
        ),
    ],
    validation: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE",
            help="Labelled images to validate on.",
            show_default="a fifth of --data, by label",
        ),
    ] = None,
    candidates: Annotated[
        str, typer.Option(help="Networks to train, separated by commas.")
    ] = "cuemill1",
    select_by: Annotated[
        SelectBy, typer.Option(help="Validation metric that selects the best candidate.")
    ] = SelectBy.ACCURACY,
    weights: Annotated[
        str,
        typer.Option(
            help="Initial weights of pretrained layers: `imagenet` (downloaded once), `none`, "
            "or the path of a file."
        ),
    ] = "imagenet",
    teacher: Annotated[
        list[Path] | None,
        typer.Option(
            help="Pickle of a model whose scores are learned along with the labels. "
            "Repeat for several teachers."
        ),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(help="Pickle of the same network, to continue from its weights."),
    ] = None,
    equalise: Annotated[
        bool,
        typer.Option(
            "--equalise",
            help="Show the network every face in grey and with a flat histogram, in training and "
            "in use: whatever the light.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed for all randomness.")] = 0,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Pickle to write.", show_default="in --run-dir"),
    ] = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder for checkpoints, history and the report.",
            show_default="CUEMILL_DATA_DIR/runs/CANDIDATES",
        ),
    ] = None,
) -> None:
    """Train networks on labelled images, compare them, and write the best one as a pickle.

    Also writes a report and a model card. Ctrl-C stops and writes the best model so far; run the
    same command again to resume at the next epoch. Requires `cuemill[trainer]`.

    A SOURCE is one of:

    * a folder with one subfolder per label

    * `NAME_data.npy`, with `NAME_labels.npy` beside it

    * FER-2013: `fer2013.csv[,training|publictest|privatetest]`

    * EMOTIC: `Annotations.mat[,train|val|test][,body|face][,soft|rarest]`; `soft` keeps all
      categories of a person as one target, `rarest` only the rarest

    Candidates: cuemill1 (the shipped model), cuemill1_tune and cuemill1_robust
    (fine-tune it, with --start), model1 to model5 (the networks of Cue-Cetera, 2023), model3_long,
    mobilenetv2.
    """
    with trainer_extra():
        from trainer.plan import Plan
        from trainer.train import train
        from worker.engines.load import load_engine

    settings = load()
    names = tuple(name.strip() for name in candidates.split(","))
    teacher_releases = [load_release(path) for path in teacher or ()]
    start_release = None if start is None else load_release(start)

    plan = Plan(
        data=tuple(data),
        validation=tuple(validation or ()),
        candidates=names,
        select_by="accuracy" if select_by is SelectBy.ACCURACY else "macro_f1",
        weights=weights,
        seed=seed,
        equalise=equalise,
        teachers=tuple(release.sha256 for release in teacher_releases),
        start=start_release.sha256 if start_release else "",
    )
    folder = run_dir
    if folder is None:
        make_private(settings.data_folder)
        folder = settings.data_folder / "runs" / "-".join(names)

    with TrainingBars() as bars:
        try:
            teachers = [load_engine(release, settings).predict for release in teacher_releases]
            result = train(plan, folder, output, bars, teachers, start_release)
        except KeyboardInterrupt:
            err.print(
                "Interrupted before the first epoch ended, so no model was written. "
                "Run the same command again."
            )
            raise typer.Exit(130) from None

    _print_comparison(result.comparison)

    labels = [title(label) for label in result.release.trained_labels]
    accuracy = result.release.metrics["val_accuracy"]
    err.print(f"{result.path}: validation accuracy {accuracy:.4f}")
    err.print(f"Trained on {len(labels)} of {len(EMOTIONS)} emotions: {', '.join(labels)}.")
    err.print(f"Report: {result.report}")

    if result.interrupted:
        err.print(
            "Interrupted: this is the best model so far. "
            "Run the same command again to resume at the next epoch."
        )
        raise typer.Exit(130)


def _print_comparison(rows: Iterable[Mapping[str, Any]]) -> None:
    table = figures_table(
        "candidate",
        ["parameters", "multiply-adds", "epochs", "best", "accuracy", "macro F1", "minutes"],
    )
    for row in rows:
        table.add_row(
            row["candidate"],
            f"{row['parameters']:,}",
            f"{row['multiply_adds'] / 1e6:,.1f} M",
            str(row["epochs"]),
            str(row["best_epoch"]),
            f"{row['val_accuracy']:.4f}",
            f"{row['val_macro_f1']:.4f}",
            f"{row['seconds'] / 60:,.0f}",
            style="bold" if row["chosen"] else None,
        )
    out.print(table)
