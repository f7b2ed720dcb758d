"""Writing files so that they appear whole or not at all, and folders that only their user reads."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path, mode: int | None = None) -> Iterator[Path]:
    """Yields a temporary file that replaces `path` when the block ends without an error.

    The content is flushed to disk before the rename, so even after a power failure `path` holds
    either the old content or the new.

    Args:
        mode: the file's permissions; by default, those that the umask leaves.

    Raises:
        OSError: the file cannot be written. `path` is unchanged and no temporary file remains.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))

    # Shortened, because the file's own name may be as long as names can be.
    temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}")
    temporary.touch(exist_ok=False)
    try:
        yield temporary

        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        if mode is not None:
            temporary.chmod(mode)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, data: bytes, mode: int | None = None) -> None:
    """Writes a file in one step, as `replacing` does."""
    with replacing(path, mode) as temporary:
        temporary.write_bytes(data)


def make_private(folder: Path) -> None:
    """Creates a folder, if there is none yet, that only its user can read.

    Raises:
        OSError: it cannot be created.
    """
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
