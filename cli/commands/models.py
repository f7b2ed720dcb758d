"""`cuemill models`."""

from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.table import Table

from cli.context import connect, trainer_extra
from cli.options import Json, LabelledImages, ModelName
from cli.output import err, out, print_json
from cli.progress import TrainingBars
from models.errors import UsageError
from models.labels import title
from models.release.files import load_release, save_release
from models.release.release import Release
from models.store import releases
from models.store.releases import ReleaseRow

_BULK: Final = ("network", "weights", "keras_config")
"""Fields of a release that are too large to print."""

app = typer.Typer(name="models", help="Manage model releases.", no_args_is_help=True)


@app.command("list")
def list_models(as_json: Json = False) -> None:
    """List the model releases that jobs can use. A star marks the default for new jobs."""
    settings, db = connect()

    # Register the default model, so that it is listed before the first job.
    releases.resolve(db, None, settings.model)
    rows = releases.list_all(db, settings.model)

    if as_json:
        print_json([asdict(row) for row in rows])
    else:
        _print_releases(rows)


@app.command()
def inspect(model: ModelName) -> None:
    """Check a pickle and print its labels, metrics and training as JSON."""
    path = Path(model)
    if not path.is_file():
        settings, db = connect()
        row = releases.get(db, releases.find(db, model))
        path = releases.locate(row, settings.model)

    print_json(_summarize(load_release(path)))


@app.command()
def promote(model: ModelName) -> None:
    """Make a model the default for new jobs, effective immediately. Existing jobs keep theirs."""
    settings, db = connect()
    row = releases.promote(db, releases.resolve(db, model, settings.model))
    err.print(f"New jobs use {row.name} ({row.sha256[:12]}).")


@app.command("import")
def import_model(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="Keras model: pickle, .keras or .h5.", show_default=False
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Pickle to write.", show_default="NAME_imported.pkl"),
    ] = None,
    labels: Annotated[
        str,
        typer.Option(
            "--labels",
            metavar="NAMES",
            help="The model's labels in its order, such as angry,disgust,fear. "
            "Default: the 28 emotions.",
            show_default=False,
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """Convert a Keras model (a pickle, .keras or .h5) without executing any of it.

    Without `--labels`, Cuemill assumes that the model's 28 outputs are its emotions, in the order
    of `GET /v1/emotions`. It feeds it images in B, G, R order, or grey ones if the model has one
    channel. Requires `cuemill[trainer]`.
    """
    with trainer_extra():
        from trainer.keras_import.read import import_keras

    _, db = connect()
    release = import_keras(file, [name for name in labels.split(",") if name.strip()])
    target = _check_new(output or file.with_name(f"{release.name}_imported.pkl"))

    save_release(release, target)
    row = releases.get(db, releases.register(db, target))

    if as_json:
        print_json({**_summarize(load_release(target)), "path": str(target)})
        return

    parameters = sum(weight.size for weight in release.weights.values())
    err.print(
        f"{target}: {len(release.network)} steps, {parameters:,} parameters, "
        f"registered as {row.name}."
    )
    err.print(
        "The file does not say how accurate the model is"
        + ("" if release.trained_labels else ", nor which labels it was trained on")
        + ". Measure it with `cuemill evaluate`."
    )


@app.command()
def quantize(
    model: Annotated[
        Path, typer.Argument(metavar="FILE", help="Pickle of a model.", show_default=False)
    ],
    data: LabelledImages,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Pickle to write.", show_default="FILE_int8.pkl"),
    ] = None,
) -> None:
    """Prepare a model for int8 and measure its accuracy. `cuemill train` does this by itself.

    Measure on images that the model was not trained on. Workers use int8 by default if it is
    faster on their processor and costs at most 0.3 points of accuracy. Requires
    `cuemill[trainer]`.
    """
    target = _check_new(output or model.with_name(f"{model.stem}_int8.pkl"))

    with trainer_extra():
        from trainer.datasets.load import load
        from trainer.int8 import measure_int8

    release = load_release(model)
    with TrainingBars() as bars:
        images = load(data, release.preprocessing, bars.read)
        bars.note("measuring")
        int8 = measure_int8(release, images)

    save_release(replace(release, int8=int8), target)

    use = "by default" if int8.admitted else "only if CUEMILL_PRECISION is int8"
    err.print(
        f"{target}: accuracy {int8.accuracy:.4f} in int8, {int8.accuracy_f32:.4f} in float32, on "
        f"{int8.images:,} images. Workers use int8 {use}."
    )


def _check_new(target: Path) -> Path:
    # A job needs the very pickle it started with, so none is overwritten.
    if target.exists():
        raise UsageError(f"{target} already exists. Choose another file with --output.")
    return target


def _print_releases(rows: Iterable[ReleaseRow]) -> None:
    table = Table("", "name", "sha256", "accuracy", "has seen", box=None, pad_edge=False)

    for row in rows:
        accuracy = row.metrics.get("val_accuracy")
        trained_labels = "unknown"
        if row.trained_labels:
            names = ", ".join(title(label) for label in row.trained_labels)
            trained_labels = f"{len(row.trained_labels)} of {len(row.labels)}: {names}"

        table.add_row(
            "*" if row.is_default else "",
            row.name,
            row.sha256[:12],
            "" if accuracy is None else f"{accuracy:.3f}",
            trained_labels,
        )
    out.print(table)


def _summarize(release: Release) -> dict[str, Any]:
    fields = {name: value for name, value in vars(release).items() if name not in _BULK}
    return {
        **fields,
        "int8": release.int8.to_plain() if release.int8 else None,
        "preprocessing": release.preprocessing.to_plain(),
        "parameters": sum(weight.size for weight in release.weights.values()),
    }
