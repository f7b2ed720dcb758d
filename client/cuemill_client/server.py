"""The server that a client speaks with: its address, and what every request says."""

from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from cuemill_client.steps import Request

__version__: Final = "0.1.0"

RETRIES: Final = 4
TIMEOUT_S: Final = 30.0
AT_A_TIME: Final = 8
"""Files that an upload sends at a time."""


@dataclass(frozen=True)
class Server:
    """Where requests go, and with which key.

    Raises:
        ValueError: the address is not one of HTTP.
    """

    base_url: str
    key: str | None = field(repr=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                f"{self.base_url!r} is not the address of a server, such as http://localhost:8000"
            )

    def arguments(self, request: Request) -> dict[str, Any]:
        """A request as httpx2 takes it."""
        headers = {"User-Agent": f"cuemill-client/{__version__}", **request.headers}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        if request.content is not None:
            headers["Content-Type"] = "application/octet-stream"

        return {
            "method": request.method,
            "url": self.base_url.rstrip("/") + request.path,
            "params": request.params or None,
            "json": request.json,
            "content": request.content,
            "headers": headers,
        }
