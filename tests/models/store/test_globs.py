"""Patterns match the same paths in both databases as Python's `fnmatch` does."""

import fnmatch
from typing import Final

import sqlalchemy as sa

from models.store import globs
from models.store.database import Database

GLOBS: Final = (
    *("*", "a/*.jpg", "*.JPG", "?.jpg", "a?b*", "[ab]/*", "[!ab]*", "[a-c]x", "[!a-c]?"),
    *("*[*", "[]]", "[!]]", "[a-]", "[-a]", "[^a]", "[", "[!", "a.b", "(a|b)", "$^+{1}", "\\*"),
    *("[\\]x", "[[:alpha:]]", "[.a.]", "[é-ü]*", "*é", "", "a**b", "[_a-]", "x\n*", "[&&]"),
    *("[z-a]", "[!z-a]", "[z-ab]*"),
)
PATHS: Final = (
    *("", "a", "-", "]", "[", "^", "^a", "a.b", "aXb", "axb/c", "bx", "dx", "x", "a/1.jpg"),
    *("A/1.JPG", "b/c/d.jpg", "a/b/c.jpg", "(a|b)", "$^+{1}", "\\*", "\\x", "*", "é", "ö1", "aé"),
    *("x\ny", "x\n", ".]", "a]", ":]", "_", "&", "%", "a%b", "aab", "[a", "[!"),
)


def test_patterns_match_as_in_a_shell(db: Database) -> None:
    with db.read() as connection:
        for glob in GLOBS:
            conditions = [globs.matches(sa.literal(path), glob) for path in PATHS]
            found = connection.execute(sa.select(*conditions)).one()

            matched = [path for path, is_match in zip(PATHS, found, strict=True) if is_match]
            assert matched == [path for path in PATHS if fnmatch.fnmatchcase(path, glob)], glob
