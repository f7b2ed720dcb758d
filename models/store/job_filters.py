"""Which jobs a user asks for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from models.store.states import JobStatus
from models.store.tables import Job

ENDED_AT: Final = sa.func.coalesce(Job.completed_at, Job.cancelled_at, Job.failed_at)


class _HasText(FunctionElement[bool]):
    """Of a JSON object, a key and a text: whether the key's value is that text, when written out.

    Numbers, true and false are written as in JSON, strings without quotes.
    """

    type = sa.Boolean()
    inherit_cache = True


@compiles(_HasText, "postgresql")
def _has_text_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    column, key, text = [compiler.process(clause, **options) for clause in element.clauses]
    return f"({column} ->> {key} = {text})"


@compiles(_HasText, "sqlite")
def _has_text_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    # Not a path such as `$.key`, in which a key with a quotation mark cannot be written.
    column, key, text = [compiler.process(clause, **options) for clause in element.clauses]
    written = "CASE WHEN type IN ('true', 'false') THEN type ELSE CAST(atom AS TEXT) END"
    return f"{text} IN (SELECT {written} FROM json_each({column}) WHERE key = {key})"  # noqa: S608


@dataclass(frozen=True)
class JobFilter:
    """Which jobs: those that meet all conditions.

    Args:
        folder: the job's, or one that the job's is in.
        metadata: values of the job's metadata by key, written out.
        submitted_after, ended_after: at this time or later.
        submitted_before, ended_before: earlier than this. A job that has not ended meets neither
            condition on its end.
    """

    status: JobStatus | None = None
    folder: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    submitted_after: datetime | None = None
    submitted_before: datetime | None = None
    ended_after: datetime | None = None
    ended_before: datetime | None = None

    def where(self) -> Iterator[sa.ColumnElement[bool]]:
        """The conditions in SQL."""
        if self.status is not None:
            yield Job.status == self.status
        if self.folder is not None:
            # Not LIKE, which ignores case in SQLite.
            inside = f"{self.folder.rstrip('/')}/"
            is_inside = sa.func.substr(Job.folder, 1, len(inside)) == inside
            yield sa.or_(Job.folder == (self.folder.rstrip("/") or "/"), is_inside)
        for key, text in self.metadata.items():
            yield _HasText(Job.details, sa.literal(key), sa.literal(text))

        if self.submitted_after is not None:
            yield Job.queued_at >= self.submitted_after
        if self.submitted_before is not None:
            yield Job.queued_at < self.submitted_before
        if self.ended_after is not None:
            yield self.ended_after <= ENDED_AT
        if self.ended_before is not None:
            yield self.ended_before > ENDED_AT
