"""The end of a program whose database was upgraded by a newer one."""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from models.errors import DatabaseError, OutdatedError
from models.store.database import Database
from worker.repeat import repeat_in_background

_log = logging.getLogger(__name__)


@contextmanager
def stop_when_outdated(db: Database, interval_s: float) -> Iterator[None]:
    """Stops the program, as SIGTERM does, when the tables become newer than it.

    Raises:
        OutdatedError: they have. The program's host should start a newer one.
    """
    # The block has a handler of its own if it must end in another way.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    errors: list[OutdatedError] = []

    def check() -> None:
        if errors:
            return
        try:
            db.check_not_newer()
        except OutdatedError as error:
            errors.append(error)
            _log.error("%s This program stops.", error)
            os.kill(os.getpid(), signal.SIGTERM)
        except DatabaseError as error:
            _log.info("look at the revision postponed: %s", error)

    try:
        with repeat_in_background(check, interval_s, "revision"):
            yield
    finally:
        if errors:
            raise errors[0]
