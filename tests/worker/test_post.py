"""One POST: to the checked address, within its limits, and no further."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.receiver import Receiver, run_receiver
from worker import post as post_module
from worker.post import ANSWER_MAX, Answer, post


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with run_receiver() as server:
        yield server


def send(url: str) -> Answer:
    return post(url, b"{}", {"webhook-id": "msg_1"}, private=True)


def resolve_to(
    monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]
) -> list[tuple[str, int]]:
    """Makes the first look-up give these addresses, and each later one an error; notes them."""
    asked: list[tuple[str, int]] = []

    def look_up(host: str, port: int, **_: Any) -> list[Any]:
        asked.append((host, port))
        assert len(asked) == 1, "a second look-up could lead elsewhere"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


def test_a_name_is_looked_up_once_and_the_request_goes_to_the_address_that_was_checked(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    asked = resolve_to(monkeypatch, ("127.0.0.1", receiver.port))

    assert send("http://receiver.test/hook?a=b") == Answer(204)
    assert asked == [("receiver.test", 80)]
    ((headers, body),) = receiver.requests
    assert (headers["host"], headers["target"], body) == ("receiver.test", "/hook?a=b", b"{}")
    assert headers["webhook-id"] == "msg_1"


def test_the_next_address_is_tried_if_one_takes_no_connection(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, ("127.0.0.1", 1), ("127.0.0.1", receiver.port))
    assert send("http://receiver.test/").status == 204


def test_nothing_is_sent_to_an_address_that_is_not_allowed(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, ("127.0.0.1", receiver.port))
    answer = post("https://receiver.test/", b"{}", {}, private=False)
    assert answer.status is None
    assert "leads to 127.0.0.1" in str(answer.error)
    assert receiver.requests == []


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    receiver.answer = lambda _: (307, {"Location": f"http://127.0.0.1:{receiver.port}/other"})
    assert send(receiver.url).status == 307
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(("value", "seconds"), [("120", 120.0), ("Wed, 01 Jan 2031", 0.0)])
def test_it_says_when_the_receiver_wants_to_be_asked_again(
    receiver: Receiver, value: str, seconds: float
) -> None:
    receiver.answer = lambda _: (503, {"Retry-After": value})
    assert send(receiver.url) == Answer(503, None, seconds)


def make_certificate(folder: Path, name: str) -> Path:
    path = folder / "receiver.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    subject = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run([*command.split(), *subject, *files], check=True, capture_output=True)
    path.write_text((folder / "key.pem").read_text() + (folder / "certificate.pem").read_text())
    return path


@pytest.mark.parametrize(("name", "status"), [("receiver.test", 204), ("other.test", None)])
def test_the_certificate_must_be_for_the_name_in_the_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, status: int | None
) -> None:
    certificate = make_certificate(tmp_path, "receiver.test")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with run_receiver(str(certificate)) as receiver:
        resolve_to(monkeypatch, ("127.0.0.1", receiver.port))
        answer = send(f"https://{name}/")
        assert answer.status == status, answer
        assert len(receiver.requests) == (1 if status else 0)
    assert status or "CERTIFICATE_VERIFY_FAILED" in str(answer.error)


def answer_with(*parts: bytes) -> str:
    """The URL of a receiver that answers with these parts, and with the last one without end."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = server.accept()
        with server, connection:
            connection.recv(65_536)
            try:
                for part in parts:
                    connection.sendall(part)
                while True:
                    connection.sendall(parts[-1])
            except OSError:
                return  # The client has hung up, as it should.

    Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{server.getsockname()[1]}/"


@pytest.mark.parametrize("rest", [b"\r\nX: " + b"x" * 4096, b"x" * 4096])
def test_headers_without_end_are_cut_off(rest: bytes) -> None:
    answer = send(answer_with(b"HTTP/1.1 200 OK\r\nX: ", rest))
    assert answer.status is None
    assert f"exceed {ANSWER_MAX:,} bytes" in str(answer.error)


def test_the_body_of_an_answer_is_not_read() -> None:
    url = answer_with(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65_536)
    assert send(url) == Answer(200)


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 200 OK\r\nX: "])
def test_a_receiver_that_answers_bit_by_bit_is_left_at_the_deadline(
    first: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(post_module, "WHOLE_S", 0.3)
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = server.accept()
        with server, connection:
            connection.sendall(first)
            connection.settimeout(0.05)
            while True:
                try:
                    if not connection.recv(65_536):
                        return
                except TimeoutError:
                    connection.sendall(b"x" if first else b"")
                except OSError:
                    return

    Thread(target=serve, daemon=True).start()
    answer = send(f"http://127.0.0.1:{server.getsockname()[1]}/")
    assert answer == Answer(None, "The receiver did not answer in time.")


@pytest.mark.parametrize("nonsense", [b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 2x0 OK\r\n\r\n"])
def test_what_is_not_http_is_an_error(nonsense: bytes) -> None:
    answer = send(answer_with(nonsense))
    assert answer.status is None
    assert answer.error


def test_a_receiver_that_is_down_is_an_error() -> None:
    answer = send("http://127.0.0.1:1/")
    assert answer.status is None
    assert "refused" in str(answer.error)
