"""Writes docs/errors.md from the catalogue of codes: `python -m docs.errors`."""

from pathlib import Path

from api.codes import CODES

TARGET = Path(__file__).parent / "errors.md"

HEAD = """\
<!-- Generated from api/codes.py by `make docs`. Do not edit. -->

# Errors of the API

Every error is a problem (RFC 9457) with a stable `code`, and its `type` leads here. Each running
API shows this page at `/docs/errors`, so it can be read without a connection to the outside.
"""


def render() -> str:
    """The page."""
    parts = [HEAD]
    for name, code in CODES.items():
        statuses = " or ".join(map(str, code.statuses))
        parts.append(f"\n## {name}\n\nStatus {statuses}. {code.meaning}\n\n{code.remedy}\n")
    return "".join(parts)


if __name__ == "__main__":
    TARGET.write_text(render())
