"""Connections of the HTTP server: a request that does not arrive in time is dropped.

Uploads are larger than other requests. So there is a time limit for each part of a request.
"""

import asyncio
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

ARRIVAL_S: Final = 20.0
"""For each `PART_BYTES` of a request, from the connection or its first byte on."""
PART_BYTES: Final = 65_536
"""No body but that of an upload is larger."""


class PatientProtocol(H11Protocol):
    """Uvicorn's HTTP/1.1, which by itself waits for the rest of a request for ever."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._arrival: asyncio.TimerHandle | None = None
        self._arrived = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch_arrival()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._arrived += len(data)
        if self._arrived > PART_BYTES:
            self._stop_watching()
        self._watch_arrival()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch_arrival()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watching()
        super().connection_lost(exc)

    def _watch_arrival(self) -> None:
        arriving = self.conn.their_state in (h11.IDLE, h11.SEND_BODY)
        # Between two requests, Uvicorn's own and shorter time limit holds.
        if not arriving or self.timeout_keep_alive_task is not None:
            self._stop_watching()
        elif self._arrival is None:
            self._arrived = 0
            self._arrival = self.loop.call_later(ARRIVAL_S, self._drop)

    def _drop(self) -> None:
        self._arrival = None
        # If this server has stopped reading, the client is not to blame.
        if self.flow.read_paused:
            self._watch_arrival()
        else:
            self.transport.close()

    def _stop_watching(self) -> None:
        if self._arrival is not None:
            self._arrival.cancel()
            self._arrival = None
