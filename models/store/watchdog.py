"""The watchdog of connections to PostgreSQL: one on which no answer can arrive is given up.

TCP notices that the other end is gone, but not that a proxy in between acknowledges all it is sent
and passes nothing on. So if an answer takes long, the server is asked over another connection
whether it is still at work on it. However long a statement takes, it is not given up while it is.
"""

import time
from typing import Any, Final, Self, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.waiting import Ready

SILENT_S: Final = 20.0
"""How long a connection may be silent before the server is asked, and between two questions."""
ANSWER_S: Final = 5.0
"""How long to wait for the answer to that."""
# A session that waits for its client has nothing more to send.
_IS_SERVED: Final = """
    SELECT pg_backend_pid(), EXISTS (
        SELECT FROM pg_stat_activity WHERE pid = %s
        AND state NOT LIKE 'idle%%' AND wait_event_type IS DISTINCT FROM 'Client'
    )
"""

T = TypeVar("T")


class WatchedConnection(psycopg.Connection[Any]):
    """A connection that raises `OperationalError` when no answer can arrive on it any more."""

    silent_s = SILENT_S
    _parameters: dict[str, Any]

    @classmethod
    def connect(cls, conninfo: str = "", **parameters: Any) -> Self:
        connection = super().connect(conninfo, **parameters)
        connection._parameters = {"conninfo": conninfo, **parameters}
        return connection

    def wait(self, gen: PQGen[T], *arguments: Any, **options: Any) -> T:
        """Everything that waits for the server does it here."""
        return super().wait(self._watch(gen), *arguments, **options)

    def _watch(self, gen: PQGen[T]) -> PQGen[T]:
        heard_at = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready != Ready.NONE:
                    heard_at = time.monotonic()
                elif time.monotonic() - heard_at > self.silent_s:
                    self._give_up_unless_served()
                    heard_at = time.monotonic()
                wanted = gen.send(ready)
        except StopIteration as end:
            result: T = end.value
            return result

    def _give_up_unless_served(self) -> None:
        if not self._is_served():
            self.close()
            raise psycopg.OperationalError(
                f"no answer for {self.silent_s:.0f} s, and the server is not at work on one"
            )

    def _is_served(self) -> bool:
        """Whether the server is at work for this connection. If it cannot be asked, it is not."""
        same_host = {"host": self.info.host, "port": self.info.port}
        try:
            with _Question.connect(**{**self._parameters, **same_host}) as question:
                ((pid, is_served),) = question.execute(_IS_SERVED, [self.info.backend_pid])
                # Behind PgBouncer, connections and sessions are not the same: nothing can be said.
                return bool(is_served or pid != question.info.backend_pid)
        except (psycopg.Error, OSError):
            return False


class _Question(WatchedConnection):
    silent_s = ANSWER_S

    def _is_served(self) -> bool:
        return False
