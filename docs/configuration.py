"""Writes docs/configuration.md from the settings class: `python -m docs.configuration`."""

import typing
from pathlib import Path
from typing import Any, Literal

import annotated_types
from pydantic.fields import FieldInfo

from models.settings import SHIPPED_MODEL, Settings

TARGET = Path(__file__).parent / "configuration.md"

HEAD = """\
<!-- Generated from models/settings.py by `make docs`. Do not edit. -->

# Configuration

Cuemill reads its settings from environment variables and from one file of `NAME=value` lines: the
file that `CUEMILL_ENV_FILE` names, else `~/.config/cuemill/.env` (below `XDG_CONFIG_HOME`, if that
is set). It never reads a `.env` in the current folder. `cuemill status` says which file it read.

Passwords may lie in files: in the folder that `CUEMILL_SECRETS_DIR` names, such as `/run/secrets`,
a file `cuemill_database_url` holds the value of that setting, and so for the others.

A variable overrides the files, and an option of a command overrides both. An empty variable counts
as unset. A wrong value stops the program, which then names the setting and says what it expected.

`CUEMILL_DATABASE_URL` and `CUEMILL_BROKER_URL` decide how Cuemill runs, and all programs of one
deployment need the same two; see [Deployment](deployment.md).

| Setting | Default | Values | Meaning |
|---|---|---|---|
"""


def render() -> str:
    """The page."""
    rows = [_row(name, field) for name, field in Settings.model_fields.items()]
    return HEAD + "".join(rows)


def _row(name: str, field: FieldInfo) -> str:
    cells = [f"`CUEMILL_{name.upper()}`", _default(name, field), _values(field)]
    cells.append((field.description or "").replace("|", "\\|"))
    return f"| {' | '.join(cells)} |\n"


def _default(name: str, field: FieldInfo) -> str:
    if name == "data_dir":  # It depends on the user who asks.
        return "`~/.local/share/cuemill`"
    if field.default == SHIPPED_MODEL:
        return f"`{SHIPPED_MODEL.name}`, as shipped"
    if field.default in ("", ()):
        return "empty"
    number = field.default
    return f"`{number:g}`" if isinstance(number, float) else f"`{number}`"


def _values(field: FieldInfo) -> str:
    """What the field accepts: its choices, or its kind and range."""
    kind: Any = field.annotation
    if typing.get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in typing.get_args(kind))

    least = [limit.ge for limit in field.metadata if isinstance(limit, annotated_types.Ge)]
    most = [limit.le for limit in field.metadata if isinstance(limit, annotated_types.Le)]
    if least and most:
        return f"{least[0]:,g} to {most[0]:,g}"

    if kind in (Path, Path | None):
        return "path"
    if typing.get_origin(kind) is tuple:
        return "paths"
    return "text"


if __name__ == "__main__":
    TARGET.write_text(render())
