"""What the tests read of logs."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from models.logs import JsonFormatter


@contextmanager
def json_lines(logger: str) -> Iterator[list[dict[str, Any]]]:
    """What a logger writes within the block, as the lines of `CUEMILL_LOG_FORMAT=json`."""
    lines: list[dict[str, Any]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(json.loads(self.format(record)))

    handler = Keep()
    handler.setFormatter(JsonFormatter())
    logging.getLogger(logger).addHandler(handler)
    try:
        yield lines
    finally:
        logging.getLogger(logger).removeHandler(handler)
