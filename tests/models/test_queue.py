"""The queue as a producer sees it, with a real Redis and without."""

import json
from typing import Any

import redis

from models.queue import CLASSIFY, QUEUE, TRAIN, TRAINING_QUEUE, make_app, make_ping, make_sender
from tests.services import Redis, free_port


def messages(server: Redis, queue: str) -> list[dict[str, Any]]:
    with redis.Redis(port=server.port) as client:
        return [json.loads(message) for message in client.lrange(queue, 0, -1)]


def test_a_message_holds_the_name_of_a_task_and_an_id(redis_server: Redis) -> None:
    redis_server.flush()
    with make_app(redis_server.url) as app:
        send = make_sender(app)
        assert send(CLASSIFY, 7)
        assert send(TRAIN, 8)
    (image_message,) = messages(redis_server, QUEUE)
    (training_message,) = messages(redis_server, TRAINING_QUEUE)
    assert image_message["headers"]["task"] == CLASSIFY
    assert image_message["headers"]["argsrepr"] == "[7]"
    assert image_message["content-type"] == "application/json"
    assert training_message["headers"]["argsrepr"] == "[8]"


def test_a_broker_that_answers_is_pinged(redis_server: Redis) -> None:
    with make_app(redis_server.url) as app:
        assert make_ping(app)()


def test_an_unreachable_broker_is_reported_and_not_waited_for() -> None:
    with make_app(f"redis://127.0.0.1:{free_port()}/0") as app:
        assert not make_sender(app)(CLASSIFY, 7)
        assert not make_ping(app)()
