"""The commands of the trainer: train, evaluate, dataset build. They need cuemill[trainer]."""

import signal
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table

from cli.context import connect, trainer_extra
from cli.output import err, out, print_json
from models.errors import UsageError
from models.labels import EMOTIONS, title
from models.release.files import load_release
from models.release.release import Release
from models.settings import Settings, load_settings
from models.store import releases
from worker.engines.base import Engine

dataset_app = typer.Typer(help="Training data.", no_args_is_help=True)

SOURCES = (
    "A folder with one subfolder a label; x_data.npy (x_labels.npy beside it); fer2013.csv[,training|publictest|"
    "privatetest]; EMOTIC's Annotations.mat[,train|val|test][,body|face][,soft|rarest] "
    "(of several categories all, or the rarest). Give several to merge them."
)


class SelectBy(StrEnum):
    ACCURACY = "accuracy"
    MACRO_F1 = "macro-f1"


def add_to(app: typer.Typer) -> None:
    app.command()(train)
    app.command()(evaluate)
    app.add_typer(dataset_app, name="dataset")


def train(
    data: Annotated[list[str], typer.Option(help=SOURCES)],
    validation: Annotated[
        list[str] | None,
        typer.Option(
            help="Others, to choose by; else a fifth of each label of --data is held out."
        ),
    ] = None,
    candidates: Annotated[
        str, typer.Option(help="The networks to train, by name, with commas between.")
    ] = "cuemill1",
    select_by: Annotated[
        SelectBy, typer.Option(help="Which candidate is pickled: the best by this.")
    ] = (SelectBy.ACCURACY),
    weights: Annotated[
        str,
        typer.Option(
            help="What pretrained layers begin with: imagenet (fetched once), none, or a file."
        ),
    ] = "imagenet",
    teacher: Annotated[
        list[Path] | None,
        typer.Option(help="A pickle whose scores are taught along with the labels; or several."),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            help="A pickle of the same network, whose weights are the first to be fitted on."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Of everything random: one seed, one result.", min=0)
    ] = 0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The pickle to write.")
    ] = None,
    run_dir: Annotated[
        Path | None, typer.Option(help="Where checkpoints, history and report are kept.")
    ] = None,
) -> None:
    """Train networks on labelled images, compare them, and write the best one's pickle, report and card.

    Interrupted or killed, it goes on with the next epoch when it is run again. Ctrl-C writes the best so far.
    Candidates: cuemill1 (ours), cuemill1_tune (to go on from it, with --start), model1 to model5 (the reference's),
    model3_long, mobilenetv2.
    """
    with trainer_extra():
        from trainer.plan import Plan
        from trainer.train import train as run_training
    settings = load_settings()
    taught_by = [load_release(path) for path in teacher or ()]
    begun_with = None if start is None else load_release(start)
    names = tuple(name.strip() for name in candidates.split(","))
    plan = Plan(
        tuple(data),
        tuple(validation or ()),
        names,
        "accuracy" if select_by is SelectBy.ACCURACY else "macro_f1",
        weights,
        seed,
        tuple(release.sha256 for release in taught_by),
        begun_with.sha256 if begun_with else "",
    )
    folder = run_dir or settings.data_dir / "runs" / "-".join(names)
    with Bars() as bars:
        try:
            teachers = [_engine(release, settings).predict for release in taught_by]
            outcome = run_training(plan, folder, output, bars, teachers, begun_with)
        except KeyboardInterrupt:
            err.print("Interrupted before there was a model. Run the same command again to go on.")
            raise typer.Exit(130) from None
    _print_comparison(outcome.comparison)
    seen = ", ".join(map(title, outcome.release.trained_labels))
    err.print(f"{outcome.path}: validation accuracy {outcome.release.metrics['val_accuracy']:.4f}")
    err.print(
        f"It has seen {len(outcome.release.trained_labels)} of {len(EMOTIONS)} emotions: {seen}."
    )
    err.print(f"Report: {outcome.report}")
    if outcome.interrupted:
        err.print(
            "Interrupted: this is the best so far. Run the same command again to go on with the next epoch."
        )
        raise typer.Exit(130)


def evaluate(
    model: Annotated[
        str, typer.Argument(help="A pickle, or a release's name.", show_default=False)
    ],
    data: Annotated[list[str], typer.Option(help=SOURCES)],
    report: Annotated[
        Path | None, typer.Option(help="A folder to write a report (HTML) and its figures to.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure a model on labelled images: accuracy, label by label, confusion, calibration."""
    with trainer_extra():
        from trainer.datasets.load import load
        from trainer.quality.evaluation import evaluate as measure
        from trainer.report.write import write_report
    settings, db = connect()
    row = releases.get(db, releases.resolve(db, model, settings.model))
    release = load_release(releases.locate(row, settings.model), row.sha256)
    with Bars() as bars:
        images = load(data, release.preprocessing, bars.read)
        bars.note("measuring")
        engine = _engine(release, settings)
        found, scores = measure(engine.predict, images, release.preprocessing)
    if report:
        err.print(f"Report: {write_report(report, release, found, images, scores)}")
    if as_json:
        print_json({**found.to_plain(), "precision": engine.precision})
        return
    table = Table(
        "label",
        *[_right(name) for name in ("precision", "recall", "f1", "support")],
        box=None,
        pad_edge=False,
    )
    for label, figures in found.by_label.items():
        shares = (f"{share:.2f}" for share in (figures.precision, figures.recall, figures.f1))
        table.add_row(title(label), *shares, f"{figures.support:,}")
    out.print(table)
    lines = {
        "accuracy": found.accuracy,
        "top three": found.top3,
        "macro F1": found.macro_f1,
        "weighted F1": found.weighted_f1,
        "calibration error": found.ece,
        "accuracy with mirror image": found.flip_accuracy,
    }
    out.print("\n".join(f"{name:<28}{value:.4f}" for name, value in lines.items()))
    out.print(f"{'computed in':<28}{engine.precision}, as workers here do")


@dataset_app.command()
def build(
    folder: Annotated[Path, typer.Argument(help="Where to write.", show_default=False)],
    data: Annotated[list[str], typer.Option(help=SOURCES)],
    prefix: Annotated[str, typer.Option(help="Of the two files' names.")] = "train",
) -> None:
    """Write the reference's pair, PREFIX_data.npy (B, G, R, 48x48) and PREFIX_labels.npy, from any sources.

    A soft target becomes its label: of a person's categories the rarest in the data.
    """
    with trainer_extra():
        from models.pictures.preprocessing import Preprocessing
        from trainer.datasets.dataset import write_pair
        from trainer.datasets.load import load
    if not prefix or Path(prefix).name != prefix:
        raise UsageError(
            f"{prefix!r} can't begin a file's name; give a word such as train or test."
        )
    with Bars() as bars:
        images = load(data, Preprocessing(), bars.read)
    files = write_pair(images, folder, prefix)
    _print_balance({"images": images.balance()})
    err.print(f"Wrote {files[0]} {images.images.shape} and {files[1].name}.")


def _engine(release: Release, settings: Settings) -> Engine:
    """What workers classify with."""
    from worker.engines.load import load_engine

    return load_engine(release, settings)


def _right(name: str) -> Column:
    return Column(name, justify="right")


def _print_balance(parts: Mapping[str, Mapping[str, int]]) -> None:
    table = Table("label", *map(_right, parts), box=None, pad_edge=False)
    for label in EMOTIONS:
        if any(label in balance for balance in parts.values()):
            table.add_row(
                title(label), *(f"{balance.get(label, 0):,}" for balance in parts.values())
            )
    table.add_row(
        "all", *(f"{sum(balance.values()):,}" for balance in parts.values()), style="bold"
    )
    err.print(table)


def _print_comparison(rows: Sequence[Mapping[str, Any]]) -> None:
    names = ("parameters", "multiply-adds", "epochs", "best", "accuracy", "macro F1", "minutes")
    table = Table("candidate", *map(_right, names), box=None, pad_edge=False)
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


class Bars(Progress):
    """Shows a training's progress: a bar for reading, one for a candidate's epochs, one for the epoch.

    Once Ctrl-C is pressed the next batch is the last one, even where Python drops KeyboardInterrupt (in a `__del__`, of
    which TensorFlow has many).
    """

    def __init__(self) -> None:
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=err,
        )
        self._rows: dict[str, TaskID] = {}
        self._name = ""
        self._epochs = 0
        self._interrupted = False
        self._before = signal.getsignal(signal.SIGINT)

    def start(self) -> None:
        if self._before is not signal.SIG_IGN:  # As it is for what a script runs in the background.
            signal.signal(signal.SIGINT, self._interrupt)
        super().start()

    def stop(self) -> None:
        super().stop()
        signal.signal(signal.SIGINT, self._before)

    def _interrupt(self, *_: object) -> NoReturn:
        self._interrupted = True
        raise KeyboardInterrupt

    def _show(self, description: str, done: int, total: int) -> None:
        if description not in self._rows:
            self._rows[description] = self.add_task(description)
        self.update(self._rows[description], completed=done, total=total)

    def _hide(self, description: str) -> None:
        if description in self._rows:
            self.remove_task(self._rows.pop(description))

    def note(self, text: str) -> None:
        """A step that takes a while, and doesn't say how far it has come."""
        self.add_task(text, total=None)

    def read(self, done: int, total: int) -> None:
        self._show("reading images", done, total)

    def data(self, train: Mapping[str, int], validation: Mapping[str, int], dropped: int) -> None:
        self._hide("reading images")
        _print_balance({"train": train, "validation": validation})
        if dropped:
            self.console.print(f"Dropped {dropped:,} images from train that are in validation too.")

    def candidate(self, name: str, epochs: int) -> None:
        self._name, self._epochs = name, epochs

    def batch(self, epoch: int, done: int, total: int) -> None:
        if self._interrupted:
            raise KeyboardInterrupt
        # Batches of all epochs, so that the time remaining is the candidate's.
        self._show(self._name, (epoch - 1) * total + done, self._epochs * total)

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        figures = ", ".join(
            f"{name} {value:.4f}" for name, value in metrics.items() if name != "seconds"
        )
        self.console.print(f"{self._name} epoch {epoch}: {figures}, {metrics['seconds']:.0f} s")
