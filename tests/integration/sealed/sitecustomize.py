"""Writes down each connection to elsewhere, and each file written outside of a folder.

Python imports a module of this name when it starts, so the program under test stays unchanged.
SEALED_FOLDER and SEALED_LOG name the folder and the log.
"""

import os
import socket
import sys
from typing import Any, Final

FOLDER: Final = os.environ["SEALED_FOLDER"]
LOG: Final = os.open(os.environ["SEALED_LOG"], os.O_CREAT | os.O_APPEND | os.O_WRONLY)
LOCAL: Final = (None, "", "localhost", "127.0.0.1", "::1", "0.0.0.0", socket.gethostname())
WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES: Final = ("os.mkdir", "os.rename", "os.link", "os.symlink", "os.remove", "os.chmod")


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        address = arguments[1]
        is_sealed = not isinstance(address, tuple) or address[0] in LOCAL
    elif event == "socket.sendto":
        is_sealed = arguments[1][0] in LOCAL
    elif event == "socket.getaddrinfo":
        host = arguments[0]
        is_sealed = (host.decode() if isinstance(host, bytes) else host) in LOCAL
    elif event == "open":
        path, _, flags = arguments
        is_sealed = isinstance(path, int) or not flags & WRITING or _is_within(path)
    elif event in CHANGES:
        is_sealed = isinstance(arguments[0], int) or _is_within(arguments[0])
    else:
        return

    if not is_sealed:
        os.write(LOG, f"{event} {arguments!r} {sys.argv!r}\n".encode(errors="replace"))


def _is_within(path: Any) -> bool:
    absolute = os.path.abspath(os.fsdecode(path))
    return f"{absolute}/".startswith((f"{FOLDER}/", "/dev/", "/proc/"))


sys.addaudithook(_watch)
