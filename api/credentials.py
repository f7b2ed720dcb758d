"""What a request shows of who sent it: a key or, from a browser that has signed in, a session."""

from dataclasses import dataclass, field
from typing import Final

from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from models.store import keys
from models.store.database import Database
from models.store.keys import Key

COOKIE: Final = "cuemill_session"


@dataclass(frozen=True)
class Credential:
    """A key's text, a session's token, or neither. A key that is sent is the one that counts."""

    key: str | None = field(repr=False)
    session: str | None = field(repr=False)

    def find(self, db: Database) -> Key | None:
        """Its key, whether good or not; None if there is none, or the session has ended.

        Raises:
            DatabaseError: the database cannot be used now.
        """
        if self.key is not None:
            return keys.find(db, self.key)
        return keys.find_by_session(db, self.session) if self.session else None

    @property
    def fault(self) -> str:
        """Why there is no key."""
        if self.key is not None:
            return "There is no such key."
        return "The session has ended." if self.session else "This request has no key."


def read_credential(headers: Headers) -> Credential:
    """The one place that looks for it."""
    values = headers.getlist("authorization")
    scheme, _, text = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    key = text.strip() if scheme.lower() == "bearer" else None

    cookies = cookie_parser("; ".join(headers.getlist("cookie")))
    return Credential(key, None if key is not None else cookies.get(COOKIE))
