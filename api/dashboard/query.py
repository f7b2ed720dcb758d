"""The query of a page as its links pass it on."""

from collections.abc import Mapping
from urllib.parse import urlencode

from fastapi import Request

Query = Mapping[str, list[str]]


def read_query(request: Request) -> Query:
    """The query without its place: another filter begins at its first page."""
    names = [name for name in request.query_params if name not in ("after", "at")]
    return {name: values for name in names if (values := _filled(request, name))}


def link(path: str, query: Mapping[str, object], **changes: object) -> str:
    """An address with a query. A change replaces a parameter; None leaves it out."""
    kept = {name: value for name, value in {**query, **changes}.items() if value is not None}
    return f"{path}?{urlencode(kept, doseq=True)}" if kept else path


def _filled(request: Request, name: str) -> list[str]:
    return [value for value in request.query_params.getlist(name) if value]
