"""Names of uploaded files, which strangers choose: made safe, or refused."""

import re
from typing import Final

from models.errors import UsageError
from models.sources.names import to_text

MAX_PATH_BYTES: Final = 1024
"""Of the path as text. It is part of an index, whose rows hold 2,704 bytes in PostgreSQL."""
MAX_NAME_BYTES: Final = 255
MAX_FOLDERS: Final = 32

_ABSOLUTE: Final = re.compile(rb"/|[A-Za-z]:")


def make_safe(name: bytes) -> bytes:
    r"""The path of an uploaded file below its upload's folder.

    `\` separates folders, as on Windows. Empty parts and `.` are left out.

    Raises:
        UsageError: the name leads out of the folder, or no file can have it.
    """
    path = name.replace(b"\\", b"/")
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    reason = None

    if b"\0" in path:
        reason = "it contains a NUL character"
    elif _ABSOLUTE.match(path):
        reason = "it is absolute; expected a path within the folder that is uploaded"
    elif b".." in parts:
        reason = "`..` leads out of the folder that is uploaded"
    elif not parts:
        reason = "it is empty"
    elif len(parts) > MAX_FOLDERS + 1:
        reason = f"it has more than {MAX_FOLDERS} folders"
    elif max(map(len, parts)) > MAX_NAME_BYTES:
        reason = f"a name in it has more than {MAX_NAME_BYTES} bytes"
    elif len(to_text(b"/".join(parts)).encode()) > MAX_PATH_BYTES:
        reason = f"it has more than {MAX_PATH_BYTES:,} bytes"

    if reason is not None:
        raise UsageError(f"The name {shorten(name)} cannot be used: {reason}.")
    return b"/".join(parts)


def shorten(name: bytes) -> str:
    """A name for a message or a list."""
    text = to_text(name).replace("\0", "\\x00")
    return text if len(text) <= 200 else f"{text[:150]}...{text[-40:]}"
