"""The queue as a producer sees it, with a real Redis and without."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from models.errors import QueueError
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
        make_ping(app)()


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[tuple[Redis, Path]]:
    """A Redis with TLS alone, and the certificate that it signed itself, for `localhost`."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    request = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*request.split(), *name, *files], check=True, capture_output=True)

    port = free_port()
    tls = f"--tls-port {port} --tls-auth-clients no --tls-cert-file {certificate}"
    server = Redis(tmp_path, persistent=False, options=[*tls.split(), "--tls-key-file", str(key)])
    server.start()
    server.url = f"rediss://localhost:{port}/0"
    yield server, certificate
    server.kill()


def test_a_certificate_is_verified_unless_the_url_says_otherwise(
    tls_server: tuple[Redis, Path],
) -> None:
    server, certificate = tls_server

    with make_app(server.url) as app, pytest.raises(QueueError, match="cannot be verified") as no:
        make_ping(app)()
    assert not no.value.passing

    elsewhere = server.url.replace("localhost", "127.0.0.1")
    with (
        make_app(f"{elsewhere}?ssl_ca_certs={certificate}") as app,
        pytest.raises(QueueError, match="cannot be verified"),
    ):
        make_ping(app)()

    for query in (f"ssl_ca_certs={certificate}", "ssl_cert_reqs=none"):
        with make_app(f"{server.url}?{query}") as app:
            make_ping(app)()
            assert make_sender(app)(CLASSIFY, 7)


def test_a_broker_that_refuses_says_why_by_the_class_of_its_error(redis_server: Redis) -> None:
    with redis.Redis(port=redis_server.port) as client:
        client.acl_setuser(
            "limited", True, passwords=["+secret"], keys=["other"], commands=["+@all"]
        )
    host = f"127.0.0.1:{redis_server.port}"
    refusals = {
        f"redis://limited:wrong@{host}/0": "refuses the user or the password",
        f"redis://127.0.0.1:{redis_server.port}/9999": "Check the number of the database",
    }
    for url, sentence in refusals.items():
        with make_app(url) as app, pytest.raises(QueueError, match=sentence) as caught:
            make_ping(app)()
        assert not caught.value.passing
        assert "Start Redis" not in str(caught.value)

    with make_app(f"redis://limited:secret@{host}/0") as app:
        assert not make_sender(app)(CLASSIFY, 7)


def test_an_unreachable_broker_is_reported_and_not_waited_for() -> None:
    with make_app(f"redis://127.0.0.1:{free_port()}/0") as app:
        assert not make_sender(app)(CLASSIFY, 7)
        with pytest.raises(QueueError, match=r"cannot be reached. Start Redis again") as caught:
            make_ping(app)()
    assert caught.value.passing
