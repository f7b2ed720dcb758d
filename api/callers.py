"""Callers: who sent a request, by its key, and how much that key may do."""

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool

from api.rates import Allowance
from models.errors import ScopeError
from models.store import audit, keys
from models.store.audit import Actor
from models.store.database import Database
from models.store.keys import Key, Scope


@dataclass(frozen=True)
class Caller:
    """Who sent a request.

    Args:
        key: None = anonymous, which may do everything.
        live_jobs: unfinished jobs that it may have; 0 = any number.
        allowance: None = any number of requests.
        session: the token by which it was found; None = by the key itself.
    """

    key: Key | None
    live_jobs: int = 0
    allowance: Allowance | None = None
    session: str | None = field(default=None, repr=False)

    @property
    def actor(self) -> Actor:
        if self.key is None:
            return Actor(keys.ANONYMOUS)
        return Actor(self.key.name, self.key.id, self.live_jobs)

    def may(self, scope: Scope) -> bool:
        return self.key is None or self.key.scope.includes(scope)

    def require(self, scope: Scope) -> None:
        """
        Raises:
            ScopeError: the key does not allow it.
        """
        if self.key is not None and not self.may(scope):
            raise ScopeError(
                f"This needs a key of scope {scope}; the key {self.key.name} has scope "
                f"{self.key.scope}."
            )

    async def may_stay(self, db: Database) -> bool:
        """Whether it would be let in again: its key is still good, its session has not ended, or
        still none is needed.

        Raises:
            DatabaseError: the database cannot be used now.
        """
        if self.key is None:
            return not await run_in_threadpool(keys.exist, db)
        if self.session is not None:
            key = await run_in_threadpool(keys.find_by_session, db, self.session)
            return key is not None and key.state == "good"
        return await run_in_threadpool(keys.is_good, db, self.key.id)


_current: ContextVar[Caller | None] = ContextVar("caller", default=None)


def act_as(caller: Caller) -> None:
    """Sets who acts from here on, in the context of this request; also for the audit."""
    _current.set(caller)
    audit.act_as(caller.actor)


def current_caller() -> Caller | None:
    """Who acts; None where anybody may ask, such as on the page to sign in."""
    return _current.get()


def get_caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


InjectedCaller = Annotated[Caller, Depends(get_caller)]
