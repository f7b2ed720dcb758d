"""Callers: who sent a request, by its key, and how much that key may do."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool

from api.rates import Allowance
from models.errors import ScopeError
from models.store import keys
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
    """

    key: Key | None
    live_jobs: int = 0
    allowance: Allowance | None = None

    @property
    def actor(self) -> Actor:
        if self.key is None:
            return Actor(keys.ANONYMOUS)
        return Actor(self.key.name, self.key.id, self.live_jobs)

    def require(self, scope: Scope) -> None:
        """
        Raises:
            ScopeError: the key does not allow it.
        """
        if self.key is not None and not self.key.scope.includes(scope):
            raise ScopeError(
                f"This needs a key of scope {scope}; the key {self.key.name} has scope "
                f"{self.key.scope}."
            )

    async def may_stay(self, db: Database) -> bool:
        """Whether it would be let in again: its key is still good, or still none is needed.

        Raises:
            DatabaseError: the database cannot be used now.
        """
        if self.key is None:
            return not await run_in_threadpool(keys.exist, db)
        return await run_in_threadpool(keys.is_good, db, self.key.id)


def get_caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


InjectedCaller = Annotated[Caller, Depends(get_caller)]
