"""Times as users write them."""

from datetime import UTC, datetime


def to_utc(time: datetime) -> datetime:
    """The time in UTC; one without a zone is taken to be in UTC."""
    if time.tzinfo is None:
        return time.replace(tzinfo=UTC)
    try:
        return time.astimezone(UTC)
    except OverflowError:  # A day before the first year, or after the last.
        return time.replace(tzinfo=UTC)
