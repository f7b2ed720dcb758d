"""Results as text, a piece at a time: the same in files, on standard output and over HTTP."""

import csv
import io
import json
from collections.abc import Iterable, Iterator

from models.store.results import COLUMNS, Record


def as_jsonl(records: Iterable[Record]) -> Iterator[str]:
    """A JSON object a line."""
    for record in records:
        yield json.dumps(record.nested()) + "\n"


def as_json(records: Iterable[Record]) -> Iterator[str]:
    """One JSON array."""
    opening = "[\n"
    for record in records:
        yield opening + json.dumps(record.nested())
        opening = ",\n"
    yield "[]\n" if opening == "[\n" else "\n]\n"


def as_csv(records: Iterable[Record]) -> Iterator[str]:
    """RFC 4180, a header line first, empty where there is no value."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    for record in records:
        writer.writerow(record.flat().values())
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()
