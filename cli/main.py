"""The `cuemill` command: parses, wires, calls."""

import logging
import sys

import typer

from cli.commands import jobs, run, train
from cli.commands import models as setup
from cli.output import complain
from models.errors import CuemillError, FolderError, UsageError

app = typer.Typer(
    name="cuemill",
    help="Classify folders of face images into 28 emotions, on your own machine.\n\n"
    "A predicted expression is not a felt emotion. Start with: cuemill classify FOLDER",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _module in (run, jobs, train, setup):
    _module.add_to(app)


def main() -> None:
    """Exit codes: 0 done, 1 the job or program failed, 2 bad usage, 130 interrupted."""
    logging.basicConfig(format="%(levelname)s %(message)s")
    try:
        app()
    except (UsageError, FolderError) as error:
        complain(error)
        sys.exit(2)
    except CuemillError as error:
        complain(error)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # The reader of our output, such as `head`, has seen enough.
        sys.stderr.close()
        sys.exit(0)
