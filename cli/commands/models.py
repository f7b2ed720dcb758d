"""Commands that prepare: db upgrade, models."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from cli.commands.train import Bars
from cli.context import connect, trainer_extra
from cli.output import err, out, print_json
from models.errors import UsageError
from models.labels import title
from models.release.files import load_release, save_release
from models.release.release import Release
from models.store import releases

db_app = typer.Typer(help="The database.", no_args_is_help=True)
models_app = typer.Typer(help="Model releases.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    app.add_typer(db_app, name="db")
    app.add_typer(models_app, name="models")


@db_app.command()
def upgrade() -> None:
    """Bring the database's tables to this program's revision."""
    _, db = connect()
    err.print(f"The database {db.url.render_as_string()} is at revision {db.revision()}.")


@models_app.command("list")
def list_models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the model releases that jobs can be run with; new jobs use the one with a star."""
    settings, db = connect()
    releases.resolve(db, None, settings.model)
    found = releases.every(db, settings.model)
    if as_json:
        print_json([row.to_dict() for row in found])
        return
    table = Table("", "name", "sha256", "accuracy", "has seen", box=None, pad_edge=False)
    for row in found:
        seen = f"{len(row.trained_labels)} of {len(row.labels)}: {', '.join(map(title, row.trained_labels))}"
        accuracy = row.metrics.get("val_accuracy")
        table.add_row(
            "*" if row.is_default else "",
            row.name,
            row.sha256[:12],
            "" if accuracy is None else f"{accuracy:.3f}",
            seen if row.trained_labels else "unknown",
        )
    out.print(table)


@models_app.command()
def promote(
    model: Annotated[str, typer.Argument(help="A pickle, a release's name or digest.")],
) -> None:
    """Make a model the one that new jobs use, at once and everywhere. Jobs already submitted keep theirs."""
    settings, db = connect()
    row = releases.promote(db, releases.resolve(db, model, settings.model))
    err.print(f"New jobs use {row.name} ({row.sha256[:12]}).")


@models_app.command("import")
def import_model(
    file: Annotated[Path, typer.Argument(help="A pickle of a Keras model.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The pickle to write.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make a model of ours of a pickled Keras model (2.11, 2.12, 3), without executing a byte of it.

    Its 28 scores are taken for our labels in their order, its images for B, G, R, as the reference had them. Needs
    cuemill[trainer].
    """
    with trainer_extra():
        from trainer.keras_import.read import import_keras
    _, db = connect()
    release = import_keras(file)
    target = output or file.with_name(f"{release.name}_imported.pkl")
    if target.exists():
        raise UsageError(f"{target} exists; give another file with --output.")
    save_release(release, target)
    row = releases.get(db, releases.register(db, target))
    if as_json:
        print_json({**_summary(load_release(target)), "path": str(target)})
        return
    parameters = sum(weight.size for weight in release.weights.values())
    err.print(
        f"{target}: {len(release.network)} steps, {parameters:,} parameters, registered as {row.name}."
    )
    err.print(
        "Which labels it has seen, and how good it is, such a file doesn't say: measure it (cuemill evaluate)."
    )


@models_app.command()
def quantize(
    model: Annotated[Path, typer.Argument(help="A pickle.", show_default=False)],
    data: Annotated[
        list[str],
        typer.Option(help="Labelled images it was not fitted to, as for `cuemill train`."),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The pickle to write; else X_int8.pkl.")
    ] = None,
) -> None:
    """Find out how to run a model in 8-bit integers, and how right it then is. `cuemill train` does so by itself.

    Workers choose int8 unasked where the processor gains by it and at most 0.3 points of accuracy are lost. Needs
    cuemill[trainer].
    """
    target = output or model.with_name(f"{model.stem}_int8.pkl")
    if target.exists():  # A job that began with a release must find it again, to the byte.
        raise UsageError(f"{target} exists; give another file with --output.")
    with trainer_extra():
        from trainer.datasets.load import load
        from trainer.int8 import measure_int8
    release = load_release(model)
    with Bars() as bars:
        images = load(data, release.preprocessing, bars.read)
        bars.note("measuring")
        int8 = measure_int8(release, images)
    save_release(replace(release, int8=int8), target)
    err.print(
        f"{target}: accuracy {int8.accuracy:.4f} in int8, {int8.accuracy_f32:.4f} in float32, on "
        f"{int8.images:,} images. Workers {'take int8 by themselves' if int8.admitted else 'take it when told to'}."
    )


@models_app.command()
def inspect(
    model: Annotated[
        str, typer.Argument(help="A pickle, a release's name or digest.", show_default=False)
    ],
) -> None:
    """Check a pickle, and print what it says of itself as JSON: labels, metrics, data, training."""
    path = Path(model)
    if not path.is_file():
        settings, db = connect()
        path = releases.locate(releases.get(db, releases.find(db, model)), settings.model)
    print_json(_summary(load_release(path)))


def _summary(release: Release) -> dict[str, Any]:
    hidden = ("network", "weights", "keras_config")
    return {
        **{name: value for name, value in vars(release).items() if name not in hidden},
        "int8": release.int8.to_plain() if release.int8 else None,
        "preprocessing": release.preprocessing.to_plain(),
        "parameters": sum(weight.size for weight in release.weights.values()),
    }
