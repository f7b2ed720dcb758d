"""Lines of logs: their time and zone, and the ids of what they are about."""

import json
import logging
from datetime import datetime, timedelta

from models.logs import JsonFormatter, TextFormatter, about, add_ids, current_ids


def record_of(
    message: str, *arguments: object, error: Exception | None = None
) -> logging.LogRecord:
    exc_info = None if error is None else (type(error), error, None)
    return logging.LogRecord("worker.scan", logging.WARNING, "", 1, message, arguments, exc_info)


def test_a_line_of_text_has_a_time_with_its_zone_and_the_ids_of_what_it_is_about() -> None:
    with about(job=7), about(batch=12):
        line = TextFormatter().format(record_of("%d images wait.", 3))

    time, _, rest = line.partition(" ")
    assert datetime.fromisoformat(time).utcoffset() == timedelta(0)
    assert rest == "WARNING 3 images wait. job=7 batch=12"


def test_a_line_of_json_is_one_object_whatever_the_message_holds() -> None:
    with about(job=7):
        line = JsonFormatter().format(record_of("two\nlines", error=ValueError("a\nb")))

    assert "\n" not in line
    fields = json.loads(line)
    assert datetime.fromisoformat(fields.pop("time")).tzinfo is not None
    assert fields.pop("traceback") == "ValueError: a\nb"
    assert fields == {
        "level": "warning", "logger": "worker.scan", "message": "two\nlines", "job": 7,
    }  # fmt: skip


def test_ids_end_with_their_block_even_if_more_were_added_in_it() -> None:
    with about(job=7):
        add_ids(request_id="a")
        with about(job=8):
            assert current_ids() == {"job": 8, "request_id": "a"}
        assert current_ids() == {"job": 7, "request_id": "a"}
    assert current_ids() == {}
