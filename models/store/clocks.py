"""Clocks: the database's decides everything, and the host's is only compared with it.

A clock that is a month fast would delete, by their retention, jobs that ended yesterday. So nothing
is deleted while the two clocks disagree by minutes: one of them is wrong, and nobody knows which.

SQLite's clock is the host's. There the time since the program started, by a clock that nobody can
set, takes the place of the second one. It finds a clock that leaps while the program runs, but not
one that was wrong before.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import sqlalchemy as sa

from models.store.database import Database, now_s

APART_S: Final = 120.0
"""Clocks that disagree by more than this are not trusted; those that are kept by NTP by less than
a second."""
# On Linux, this one counts while the host sleeps.
_STEADY: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_STEADY_ZERO_S: Final = time.time() - time.clock_gettime(_STEADY)


@dataclass(frozen=True)
class Reading:
    """Both clocks at one moment.

    Args:
        now: on the database's clock.
        ahead_s: how far the host's is ahead of it; negative if it is behind.
    """

    now: datetime
    ahead_s: float

    @property
    def is_trusted(self) -> bool:
        return not are_apart(self.ahead_s)


def read(db: Database) -> Reading:
    """
    Raises:
        DatabaseError: the database cannot be used.
    """
    read_clock = _steady_now_s if db.is_sqlite else _host_now_s
    earliest = read_clock()
    with db.read() as connection:
        database_now = connection.execute(sa.select(now_s())).scalar_one()
    latest = read_clock()

    # However long the answer took, the database's clock was read in between.
    ahead_s = min(latest - database_now, 0.0) or max(earliest - database_now, 0.0)
    return Reading(datetime.fromtimestamp(database_now, UTC), ahead_s)


def are_apart(ahead_s: float) -> bool:
    return abs(ahead_s) > APART_S


def _host_now_s() -> float:
    return time.time()


def _steady_now_s() -> float:
    """What the host's clock would say, had nobody set it since the program started."""
    return _STEADY_ZERO_S + time.clock_gettime(_STEADY)
