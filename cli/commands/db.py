"""`cuemill db`."""

import typer

from cli.context import connect
from cli.output import err

app = typer.Typer(name="db", help="Manage the database.", no_args_is_help=True)


@app.command()
def upgrade() -> None:
    """Upgrade the tables to this version of Cuemill. Other commands do this automatically."""
    _, db = connect()
    err.print(f"Database {db.url.render_as_string()} is at revision {db.revision()}.")
