"""When each key was last used: noted beside the requests, which never wait for it."""

import logging
import threading

from models.errors import DatabaseError
from models.store import keys
from models.store.database import Database
from models.store.keys import NOTED_EVERY, Key

_log = logging.getLogger(__name__)


class Uses:
    """Notes uses, at most once a minute a key, each on a thread of its own."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._noting: set[str] = set()

    def note(self, key: Key) -> None:
        """Notes a use of a key that has just been read; called on the event loop alone."""
        is_recent = key.last_used_at and key.read_at - key.last_used_at < NOTED_EVERY
        # A database that is locked holds one thread a key, however many requests come.
        if is_recent or key.id in self._noting:
            return

        self._noting.add(key.id)
        try:
            threading.Thread(target=self._write, args=[key.id], daemon=True).start()
        except RuntimeError:  # The host allows no more threads.
            self._noting.discard(key.id)

    def _write(self, key_id: str) -> None:
        try:
            keys.note_use(self._db, key_id)
        except DatabaseError as error:
            _log.debug("key=%s use not noted: %s", key_id, error)
        finally:
            self._noting.discard(key_id)
