"""Logs: a record is a line, with its time, its zone and the ids of what it is about.

Each process of a program calls `start_logs` at its entry point. `about` names what the work is on;
whatever is logged within its block, however deep, then carries those ids.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal

LogFormat = Literal["text", "json"]

_ids: ContextVar[Mapping[str, object]] = ContextVar("ids")


@contextmanager
def about(**ids: object) -> Iterator[None]:
    """Adds these ids to all records of the block: `about(job=7, batch=12)`.

    Threads that the block starts take them on only if they run in a copy of its context.
    """
    token = _ids.set({**current_ids(), **ids})
    try:
        yield
    finally:
        _ids.reset(token)


def add_ids(**ids: object) -> None:
    """Adds these ids to all later records of this context, such as an asynchronous task."""
    _ids.set({**current_ids(), **ids})


def current_ids() -> Mapping[str, object]:
    return _ids.get({})


def start_logs(log_format: LogFormat = "text") -> None:
    """Logs warnings and errors to stderr; called again, it changes the format."""
    logging.basicConfig()  # Does nothing if it was called before.

    for handler in logging.getLogger().handlers:
        if type(handler) is logging.StreamHandler:  # Not one that a test has put there.
            handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())


class TextFormatter(logging.Formatter):
    """`2026-11-27T09:30:00.250+00:00 WARNING The batch goes back. job=7 batch=12`"""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # As in logging.
        ids = [f"{name}={value}" for name, value in current_ids().items()]
        return " ".join([_time(record), record.levelname, record.message, *ids])


class JsonFormatter(logging.Formatter):
    """An object a line: time, level, logger, message, ids, and the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **current_ids(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
