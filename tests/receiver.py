"""A receiver of webhooks: a real HTTP server that checks signatures with the standard's library."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from standardwebhooks import Webhook

Answer = tuple[int, dict[str, str]]
"""The status and headers."""


@dataclass
class Receiver:
    """
    Attributes:
        answer: called with each request's headers; gives what to answer.
        requests: what came: headers, in lower case, and body. With the headers are the `target`,
            and as `answered` the status of the answer.
    """

    port: int = 0
    answer: Callable[[dict[str, str]], Answer] = lambda _: (204, {})
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?a=b"

    def events(self, secret: str) -> list[Any]:
        """What was received, after its signatures were checked."""
        verify = Webhook(secret).verify
        return [verify(body, headers) for headers, body in self.requests]

    @property
    def messages(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.requests]


@contextmanager
def run_receiver(
    certificate: str | None = None, earlier: Receiver | None = None
) -> Iterator[Receiver]:
    """Runs a receiver on this machine.

    Args:
        certificate: a file with a key and a certificate; None = without TLS.
        earlier: one that ran before, to run again on its port.
    """
    receiver = earlier or Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            headers["target"] = self.path
            body = self.rfile.read(int(headers["content-length"]))
            status, answer_headers = receiver.answer(headers)
            receiver.requests.append(({**headers, "answered": str(status)}, body))

            self.send_response(status)
            for name, value in answer_headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            pass  # A client that hangs up is no error here.

    server = Server(("127.0.0.1", receiver.port), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    receiver.port = server.server_address[1]

    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
