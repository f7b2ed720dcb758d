"""Renders pages: templates with every value escaped, and headers that keep a page to itself."""

import hashlib
import json
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from api.callers import current_caller
from api.dashboard.query import link
from models.labels import title
from models.store.keys import Scope
from models.store.results import Record

FOLDER: Final = Path(__file__).parent
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    # With no-referrer, browsers send `Origin: null` with a form, which the guard refuses.
    "Referrer-Policy": "same-origin",
}
"""Of every page: scripts, styles, pictures and requests are this service's own, and none inline."""

STATIC: Final = {path.name: path.read_bytes() for path in sorted((FOLDER / "static").iterdir())}
"""The contents of the static files, by name."""
VERSION: Final = hashlib.sha256(b"".join(STATIC.values())).hexdigest()[:12]
"""Stands in the addresses of static files, so that browsers may keep them."""


def respond(template: str, status: HTTPStatus = HTTPStatus.OK, /, **values: object) -> HTMLResponse:
    """A page.

    Args:
        template: its file's name, without `.html`.
        values: what the template asks for; one that it misses is an error.
    """
    text = _templates.get_template(f"{template}.html").render(values)
    return HTMLResponse(text, status, HEADERS)


def number(value: float) -> str:
    return f"{value:,.0f}"


def plural(count: int, noun: str, nouns: str | None = None) -> str:
    """A count with its noun: "1 face", "1,204 faces"."""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"


def percent(share: float) -> str:
    """A share for a reader: "63 %"; not 0 % or 100 % unless it is all or nothing."""
    if 0 < share < 0.01:
        return "< 1 %"
    return f"{min(share, 0.99) if share < 1 else share:.0%}".replace("%", "\N{NBSP}%")


def width(share: float) -> str:
    """A share as a length in SVG."""
    return f"{100 * share:.2f}%"


def duration(seconds: float) -> str:
    for unit_s, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{seconds:.0f} s"


def rate(images_per_second: float) -> str:
    return f"{images_per_second:,.{0 if images_per_second >= 10 else 1}f}"


def parent(path: str) -> str:
    """What stands before the last part of a path, with its slash."""
    return path[: len(path) - len(path.rstrip("/").rpartition("/")[2])]


def breakable(path: str) -> Markup:
    """A path that may be broken into lines after each slash."""
    return Markup("/<wbr>").join(path.split("/"))


def code(sentence: str) -> Markup:
    """A sentence in which `` `commands` `` stand out."""
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if index % 2 else part
        for index, part in enumerate(sentence.split("`"))
    )


def utc(time: datetime) -> str:
    """A time as text; a script of the page replaces it by the reader's own."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _make_templates() -> Environment:
    templates = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        "number": number,
        "plural": plural,
        "percent": percent,
        "width": width,
        "duration": duration,
        "rate": rate,
        "parent": parent,
        "breakable": breakable,
        "code": code,
        "number_of": _number_of,
        "utc": utc,
        "title_of": title,
        "json": partial(json.dumps, indent=2, ensure_ascii=False),
    }
    templates.globals |= {"link": link, "asset": _asset, "may": _may, "signed_in": _signed_in}
    return templates


def _may(scope: str) -> bool:
    """Whether whoever asks for the page may do what needs this scope: else, no button offers it."""
    caller = current_caller()
    return caller is not None and caller.may(Scope(scope))


def _signed_in() -> str:
    """The name of the key that the reader signed in with; empty without a session."""
    caller = current_caller()
    return caller.actor.name if caller and caller.session else ""


def _number_of(record: Record) -> str:
    """The number of a record's image in its job."""
    return record.cursor.rpartition("~")[2].split(".")[-2]


def _asset(name: str) -> str:
    return f"/static/{VERSION}/{name}"


_templates: Final[Any] = _make_templates()
