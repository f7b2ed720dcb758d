"""The `cuemill` command: parses arguments, maps errors to exit codes."""

import importlib.metadata
import sys
from typing import Annotated

import typer

from cli.commands import (
    audit,
    classify,
    dataset,
    db,
    enqueue,
    evaluate,
    jobs,
    keys,
    models,
    results,
    serve,
    train,
    webhooks,
)
from cli.output import complain
from cli.streams import OutputError, ReaderGoneError, discard_rest, prepare_streams
from models.errors import CuemillError, FolderError, UsageError
from models.logs import start_logs

app = typer.Typer(
    name="cuemill",
    help="Classify folders of face images into 28 emotions, on your own machine.\n\n"
    "A predicted expression is not a felt emotion. Start with: `cuemill classify FOLDER`",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for module in (
    classify,
    enqueue,
    results,
    jobs,
    serve,
    train,
    evaluate,
    dataset,
    models,
    webhooks,
    keys,
    audit,
    db,
):
    app.add_typer(module.app)


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"cuemill {importlib.metadata.version('cuemill')}")
        raise typer.Exit


@app.callback()
def parse_global_options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Show the version and exit.",
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Exit codes: 0 done, 1 the job or the program failed, 2 bad usage, 130 interrupted."""
    start_logs()

    try:
        prepare_streams()
        try:
            app()
        finally:
            sys.stdout.flush()
    except ReaderGoneError:
        discard_rest()
        sys.exit(0)
    except (UsageError, FolderError) as error:
        complain(error)
        sys.exit(2)
    except OutputError as error:
        complain(error)
        discard_rest()
        sys.exit(1)
    except CuemillError as error:
        complain(error)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
