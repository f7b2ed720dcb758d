"""Backoff: work goes back, uncounted, while a drive, a mount or a host fails.

A row says since when that has been so (`troubled_since`), in how many `tries`, and before when
nobody tries again (`not_before`). The pause is as long as the trouble so far, within limits.
"""

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.orm import InstrumentedAttribute

from models.store.database import now_s
from models.store.leases import is_over

MIN_S: Final = 1.0
MAX_S: Final = 60.0
MIN_TRIES: Final = 3
"""However long ago the first try was, work is given up only after this many."""

NONE: Final[dict[str, Any]] = {"tries": 0, "troubled_since": None, "not_before": None}


def is_due(not_before: InstrumentedAttribute[float | None]) -> sa.ColumnElement[bool]:
    """Whether a row may be tried, or tried again."""
    return sa.or_(not_before.is_(None), is_over(not_before))


def after_try(connection: Connection, tries: int, since: float | None) -> dict[str, Any]:
    """What to write after a try that failed.

    Args:
        tries, since: as the row has them: the failed tries before this one, and when the first was.
    """
    now: float = connection.execute(sa.select(now_s())).scalar_one()
    since = now if since is None else min(since, now)
    pause_s = min(max(now - since, MIN_S), MAX_S)
    return {"tries": tries + 1, "troubled_since": since, "not_before": now + pause_s}
