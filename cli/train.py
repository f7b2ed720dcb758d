"""The command that trains."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from cli.output import err
from models.errors import EngineError
from models.labels import title
from models.settings import load_settings


def add_to(app: typer.Typer) -> None:
    app.command()(train)


def train(
    data: Annotated[Path, typer.Option(help="Folder with one subfolder of images for each label.")],
    validation: Annotated[
        Path | None, typer.Option(help="Another, to choose the best epoch by; else a fifth of --data is held out.")
    ] = None,
    candidates: Annotated[str, typer.Option(help="The network to train, by name.")] = "model3",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The pickle to write.")] = None,
    run_dir: Annotated[Path | None, typer.Option(help="Where checkpoints and history are kept.")] = None,
) -> None:
    """Train a network on labelled images and write its pickle.

    Interrupted or killed, it goes on with the next epoch when it is run again. Needs cuemill[trainer].
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        from trainer.train import train as run
    except ModuleNotFoundError as error:
        raise EngineError(f"Training needs {error.name}: pip install 'cuemill[trainer]'.") from error
    settings = load_settings()
    folder = run_dir or settings.data_dir / "runs" / candidates
    target = output or folder / f"{candidates.capitalize()}_trained.pkl"
    with _Bars() as bars:
        try:
            release = run(candidates, data, validation, folder, target, bars)
        except KeyboardInterrupt:
            err.print("Interrupted. Run the same command again to go on with the next epoch.")
            raise typer.Exit(130) from None
    seen = ", ".join(map(title, release.trained_labels))
    err.print(f"{target}: validation accuracy {release.metrics['val_accuracy']:.4f}")
    err.print(f"It has seen {len(release.trained_labels)} of {len(release.labels)} emotions: {seen}.")


class _Bars(Progress):
    """Shows a training's progress: a bar for reading, one for each epoch."""

    def __init__(self) -> None:
        super().__init__(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=err
        )
        self._rows: dict[str, TaskID] = {}

    def _show(self, description: str, done: int, total: int) -> None:
        if description not in self._rows:
            self._rows[description] = self.add_task(description)
        self.update(self._rows[description], completed=done, total=total)

    def read(self, done: int, total: int) -> None:
        self._show("reading images", done, total)

    def batch(self, epoch: int, done: int, total: int) -> None:
        self._show(f"epoch {epoch}", done, total)

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        figures = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        self.console.print(f"epoch {epoch}: {figures}")
