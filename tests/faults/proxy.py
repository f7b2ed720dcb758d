"""A network that fails: a proxy that cuts connections to a server, or lets them hang."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Proxy:
    """Forwards connections to a port of this host, until it is frozen or cut."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._refusing = False
        self._connections: list[_Connection] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self._refusing:
                    client.close()
                    continue

                try:
                    self._connections.append(
                        _Connection(client, socket.create_connection(("127.0.0.1", self._target)))
                    )
                except OSError:
                    client.close()

    def freeze(self) -> None:
        """Silently stops forwarding on the present connections; new ones work."""
        for connection in self._connections:
            connection.frozen = True

    def refuse(self) -> None:
        """Refuses new connections until `restore`."""
        self._refusing = True

    def cut(self) -> None:
        """Closes the present connections and refuses new ones until `restore`."""
        self.refuse()
        while self._connections:
            self._connections.pop().close()

    def restore(self) -> None:
        self._refusing = False

    def close(self) -> None:
        self._listener.close()
        self.cut()


class _Connection:
    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.frozen = False
        self._ends = (client, server)
        for source, target in (self._ends, self._ends[::-1]):
            threading.Thread(target=self._forward, args=(source, target), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not self.frozen:
                    target.sendall(data)
        if not self.frozen:
            self.close()

    def close(self) -> None:
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)  # Wakes the thread that reads it.
            end.close()


@contextmanager
def run_proxy(target: int) -> Iterator[Proxy]:
    proxy = Proxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
