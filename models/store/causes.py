"""Why the database failed: read from SQLSTATE, result codes and error classes, never from words.

A message may quote a user's or a table's name, and servers write it in their own language.
"""

import errno
import sqlite3
from dataclasses import dataclass
from typing import Final

from sqlalchemy.engine import URL
from sqlalchemy.exc import DisconnectionError, PendingRollbackError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from models.errors import DatabaseError

INSUFFICIENT_PRIVILEGE: Final = "42501"
CHOOSE_FOLDER: Final = (
    "Set CUEMILL_DATA_DIR (or CUEMILL_DATABASE_URL) to a folder that this user can write."
)


@dataclass(frozen=True)
class Cause:
    """A cause and its remedy.

    Args:
        what: completes "The database ...".
        remedy: sentences; may be empty.
        passing: whether the same request may succeed later.
    """

    what: str
    remedy: str = ""
    passing: bool = True


_FULL: Final = Cause("is on a full disk", "Free some space; recorded results are safe.")
_BUSY: Final = Cause("is locked by another program", "That program may be stopped: look into it.")
_UNREACHABLE: Final = Cause(
    "cannot be reached",
    "Check that it runs, that it exists, and the user and the password that Cuemill is given. "
    "docs/deployment.md says how to set PgBouncer.",
)
_CROWDED: Final = Cause("has no connection left: this program uses all that it may open")
_NO_FILES: Final = Cause(
    "cannot be reached: this program may open no more files", "Raise its limit (ulimit -n)."
)
_BROKEN: Final = Cause("broke off the connection")
_UNREADABLE: Final = Cause("cannot be read or written", "Check its drive.")
_READ_ONLY: Final = Cause("cannot be written", CHOOSE_FOLDER)
_NOT_SET_UP: Final = Cause(
    "does not have this program's tables", "Run `cuemill db upgrade`.", passing=False
)
_NO_RIGHT: Final = Cause(
    "denies its user a right that Cuemill needs", "Grant it to that user.", passing=False
)
_DAMAGED: Final = Cause("is damaged, or is no database", "Restore a backup.", passing=False)
_REFUSED: Final = Cause(
    "refused a statement", "Please report this as a bug in Cuemill.", passing=False
)

_BY_SQLSTATE: Final = {
    "25006": Cause(
        "accepts no changes", "It may be a standby: name the primary in CUEMILL_DATABASE_URL."
    ),
    "26000": Cause(
        "lost a prepared statement",
        "Behind PgBouncer, set pool_mode = session.",
    ),
    "42P05": Cause(
        "has a prepared statement of another program",
        "Behind PgBouncer, set pool_mode = session.",
    ),
    "3F000": _NOT_SET_UP,
    INSUFFICIENT_PRIVILEGE: _NO_RIGHT,
    "42703": _NOT_SET_UP,
    "42P01": _NOT_SET_UP,
    "53100": _FULL,
    "53300": Cause("has no connection left", "Raise its max_connections, or run fewer programs."),
    "55P03": _BUSY,
    "57014": Cause("stopped a statement that took too long", "Its statement_timeout may be short."),
}
_BY_SQLSTATE_CLASS: Final = {
    "08": _BROKEN,
    "28": _UNREACHABLE,
    "25": _BROKEN,  # A transaction that was ended from outside.
    "40": Cause("had a conflict between programs"),
    "53": Cause("is short of memory or of other resources"),
    "54": Cause("refused a statement as too large", passing=False),
    "55": Cause("is not ready"),
    "57": Cause("is starting or stopping"),
    "58": _UNREADABLE,
    "XX": _UNREADABLE,
}
_CONNECTION_ERRORS: Final = {"OperationalError", "InterfaceError", "OSError"}
"""DB-API's names, which every driver's classes have."""
_BY_SQLITE_CODE: Final = {
    sqlite3.SQLITE_BUSY: _BUSY,
    sqlite3.SQLITE_LOCKED: _BUSY,
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_IOERR: _UNREADABLE,
    sqlite3.SQLITE_CANTOPEN: _READ_ONLY,
    sqlite3.SQLITE_PERM: _READ_ONLY,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    # Our statements are always the same, so it is the tables that are not.
    sqlite3.SQLITE_ERROR: _NOT_SET_UP,
    sqlite3.SQLITE_SCHEMA: _NOT_SET_UP,
}


def explain(url: URL, error: Exception) -> DatabaseError:
    """What a failure means, with the database's URL for its owner and without it for clients."""
    original = getattr(error, "orig", None) or error
    cause = _find(error, original)
    # What SQLAlchemy itself says is about its own objects.
    reason = "" if isinstance(original, SQLAlchemyError) else f" ({_first_line(original)})"

    shown_url = url.render_as_string(hide_password=True)
    remedy = f" {cause.remedy}" if cause.remedy else ""
    return DatabaseError(
        f"The database {shown_url} {cause.what}{reason}.{remedy}",
        public=f"The database {cause.what}.{remedy}",
        passing=cause.passing,
        sqlstate=_sqlstate(original),
    )


def _find(error: Exception, original: Exception) -> Cause:
    if isinstance(error, PoolTimeoutError):
        return _CROWDED
    if isinstance(error, (DisconnectionError, PendingRollbackError)):
        return _BROKEN

    sqlite_code: int | None = getattr(original, "sqlite_errorcode", None)
    if sqlite_code is not None:
        # The primary code, without what the extended one adds.
        return _BY_SQLITE_CODE.get(sqlite_code & 0xFF, _REFUSED)

    sqlstate = _sqlstate(original)
    if sqlstate is not None:
        return _BY_SQLSTATE.get(sqlstate) or _BY_SQLSTATE_CLASS.get(sqlstate[:2], _REFUSED)

    if isinstance(original, OSError) and original.errno in (errno.EMFILE, errno.ENFILE):
        return _NO_FILES
    # The errors of a connection have no code. psycopg passes on what its sockets raise.
    names = {kind.__name__ for kind in type(original).__mro__}
    return _UNREACHABLE if names & _CONNECTION_ERRORS else _REFUSED


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


def _sqlstate(original: Exception) -> str | None:
    sqlstate: str | None = getattr(original, "sqlstate", None)
    return sqlstate
