"""A view of results as code: the same filters and the same order, for use outside the browser."""

import shlex
from dataclasses import dataclass, fields
from typing import Any, Final

from api.dashboard.query import Query, link
from models.store.filters import ResultFilter
from models.store.order import Sort

_KEY: Final = "CUEMILL_KEY"
"""The variable of the environment that snippets take a key from."""


@dataclass(frozen=True)
class Snippet:
    """
    Args:
        note: what it needs or gives.
    """

    name: str
    note: str
    text: str


def as_curl(url: str, query: Query, *, with_key: bool) -> Snippet:
    """
    Args:
        url: of the job's results in the API.
    """
    key = f'-H "Authorization: Bearer ${_KEY}" ' if with_key else ""
    return Snippet("curl", "as CSV", f"curl -fsS {key}{shlex.quote(link(f'{url}.csv', query))}")


def as_python(
    address: str, query: Query, conditions: ResultFilter, sort: Sort, *, with_key: bool
) -> Snippet:
    """
    Args:
        conditions: within one job.
    """
    lines = ["import os\n"] if with_key else []
    key = f', key=os.environ["{_KEY}"]' if with_key else ""
    arguments = [repr(conditions.job_id), *_arguments(query, conditions, sort)]
    call = f"cuemill.results({', '.join(arguments)})"
    if len(call) > 60:
        inside = "".join(f"        {argument},\n" for argument in arguments)
        call = f"cuemill.results(\n{inside}    )"

    lines += [
        "from cuemill_client import Client\n",
        f"with Client({address!r}{key}) as cuemill:",
        f"    for result in {call}:",
        "        print(result.path, result.face and result.face.index, result.emotion, "
        "result.score)",
    ]
    return Snippet("Python", "with pip install cuemill-client", "\n".join(lines))


def as_sql(text: str, *, is_sqlite: bool) -> Snippet:
    return Snippet("SQL", f"for {'SQLite' if is_sqlite else 'PostgreSQL'}", text)


def _arguments(query: Query, conditions: ResultFilter, sort: Sort) -> list[str]:
    """Those of the client's `results`, which are named as the filters."""
    values: dict[str, Any] = {
        field.name: getattr(conditions, field.name) for field in fields(conditions)
    }
    del values["job_id"], values["scores"]
    if conditions.outcome is not None:
        values["outcome"] = conditions.outcome.value

    values["score"] = {
        name.removeprefix("score."): texts[0] if len(texts) == 1 else texts
        for name, texts in query.items()
        if name.startswith("score.")
    }
    values["sort"] = None if sort.is_scan else sort.text
    return [f"{name}={value!r}" for name, value in values.items() if value not in (None, {})]
