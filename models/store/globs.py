"""Paths that match a pattern as in a shell: `*`, `?`, `[abc]`, `[a-z]` and `[!abc]`.

Case matters, and `*` also matches slashes, as in Python's `fnmatch`. SQLite matches with Python's
regular expressions, PostgreSQL with its own.
"""

import fnmatch
import re
import string
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

_TOKEN: Final = re.compile(r"(\*+)|(\?)|\[(!?)(\]?[^\]]*)\]|(.)", re.DOTALL)
_IN_BRACKETS: Final = re.compile(r"(.)-(.)|(.)", re.DOTALL)


class _Matches(FunctionElement[bool]):
    """Of a text, a pattern for SQLite, and one for PostgreSQL."""

    type = sa.Boolean()
    inherit_cache = True


@compiles(_Matches, "sqlite")
def _matches_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    text, pattern, _ = [compiler.process(clause, **options) for clause in element.clauses]
    return f"({text} REGEXP {pattern})"


@compiles(_Matches, "postgresql")
def _matches_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    text, _, pattern = [compiler.process(clause, **options) for clause in element.clauses]
    return f"({text} ~ {pattern})"


def matches(text: Any, glob: str) -> sa.ColumnElement[bool]:
    """The condition that a text matches a pattern."""
    # Python's takes forever over a pattern with many stars, unless it is `fnmatch` that writes it.
    return _Matches(text, rf"\A{fnmatch.translate(glob)}", _to_posix(glob))


def to_sqlite(glob: str) -> str:
    """The pattern as SQLite's own GLOB reads it."""
    parts = []
    for star, one, negation, bracket, literal in _TOKEN.findall(glob):
        if not bracket:
            parts.append("*" if star else one or literal.replace("[", "[[]"))
        elif negation:
            parts.append(f"[^{bracket}]")
        else:
            # A caret in front would negate it.
            carets = len(bracket) - len(bracket.lstrip("^"))
            parts.append(f"[{bracket[carets:]}{bracket[:carets]}]" if bracket.strip("^") else "^")
    return "".join(parts)


def _to_posix(glob: str) -> str:
    """The pattern as a regular expression of PostgreSQL."""
    parts = []
    for star, one, negation, bracket, literal in _TOKEN.findall(glob):
        if star:
            parts.append(".*")
        elif one:
            parts.append(".")
        elif literal:
            parts.append(_escape(literal))
        else:
            parts.append(_bracket(negation, bracket))

    return rf"(?s)\A(?:{''.join(parts)})\Z"


def _bracket(negation: str, text: str) -> str:
    members = ""
    for first, last, single in _IN_BRACKETS.findall(text):
        if single:
            members += _escape(single)
        elif first <= last:  # Nothing is in a range that runs backwards.
            members += f"{_escape(first)}-{_escape(last)}"

    if not members:
        return "." if negation else "(?!)"
    return f"[{'^' if negation else ''}{members}]"


def _escape(character: str) -> str:
    return f"\\{character}" if character in string.punctuation else character
