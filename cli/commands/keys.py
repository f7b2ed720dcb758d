"""`cuemill keys`."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer
from rich.table import Table

from cli.context import connect
from cli.options import Json
from cli.output import err, out, print_json
from models.store import keys
from models.store.keys import Scope

app = typer.Typer(name="keys", help="Manage the keys of the HTTP API.", no_args_is_help=True)


@app.command()
def create(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="Name, which the audit shows.", show_default=False),
    ],
    scope: Annotated[
        Scope,
        typer.Option(
            help="`read`: see everything. `submit`: also submit, cancel and retry. `admin`: also "
            "delete, promote models and see the audit.",
        ),
    ] = Scope.READ,
    expires: Annotated[
        int | None,
        typer.Option(
            metavar="DAYS", min=1, max=36_500, help="Days of use.", show_default="without end"
        ),
    ] = None,
    requests: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=1_000_000,
            help="Requests a minute that it may make; 0 = any number.",
            show_default="CUEMILL_KEY_REQUESTS",
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=1_000_000,
            help="Unfinished jobs that it may have at a time; 0 = any number.",
            show_default="CUEMILL_KEY_JOBS",
        ),
    ] = None,
) -> None:
    """Make a key and print it. It is stored as a digest, so nothing can show it again.

    As soon as there is a key, every request to the API needs one, those of this machine too.
    """
    _, db = connect()
    text = keys.create(
        db, name, scope, expires_days=expires, requests_per_minute=requests, live_jobs=jobs
    )
    typer.echo(text)
    err.print("Keep it: it is not shown again. Send it as `Authorization: Bearer KEY`.")


@app.command("list")
def list_keys(as_json: Json = False) -> None:
    """List all keys, without what is secret of them, revoked ones included."""
    _, db = connect()
    rows = keys.list_all(db)
    if as_json:
        print_json([_fields(key) for key in rows])
        return
    if not rows:
        err.print("No keys. While there is none, the API needs none, on this machine alone.")
        return

    table = Table(
        "id", "name", "scope", "state", "created", "last used", "expires", box=None, pad_edge=False
    )
    for key in rows:
        times = (key.created_at, key.last_used_at, key.expires_at)
        table.add_row(key.id, key.name, key.scope, key.state, *map(_day, times))
    out.print(table)


@app.command()
def revoke(
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="Name or id of the key.", show_default=False)
    ],
    forget: Annotated[
        bool,
        typer.Option(
            "--forget",
            help="Also delete it from the list. When no key is left, not even a revoked one, an "
            "API on this machine alone needs none again.",
        ),
    ] = False,
) -> None:
    """Revoke a key, at once and for good."""
    _, db = connect()
    revoked = keys.revoke(db, key, forget=forget)
    err.print(f"Revoked the key {revoked.name} ({revoked.id}).")


def _fields(key: keys.Key) -> dict[str, object]:
    fields = asdict(key)
    del fields["read_at"]
    return {**fields, "state": key.state}


def _day(time: datetime | None) -> str:
    return "" if time is None else f"{time:%Y-%m-%d %H:%M}"
