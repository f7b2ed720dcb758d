"""`cuemill audit`."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from cli.context import connect
from cli.options import Json
from cli.output import err, out, print_json
from models.store import audit

app = typer.Typer()


@app.command("audit")
def list_audit(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of acts.")] = 20,
    as_json: Json = False,
) -> None:
    """List who submitted, cancelled, retried, deleted, promoted, and made keys, newest first."""
    _, db = connect()
    entries = audit.list_newest(db, limit)
    if as_json:
        print_json([asdict(entry) for entry in entries])
        return
    if not entries:
        err.print("Nobody has done anything yet.")
        return

    table = Table("at", "who", "key", "act", "target", box=None, pad_edge=False)
    for entry in entries:
        table.add_row(
            f"{entry.at:%Y-%m-%d %H:%M:%S}",
            entry.actor,
            entry.key_id or "",
            entry.act,
            entry.target,
        )
    out.print(table)
