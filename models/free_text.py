"""Text and JSON from users: what UTF-8, JSON and both databases can hold, and so give back."""

import json
from typing import Any, Final

JSON_MAX_BYTES: Final = 16_384
JSON_MAX_DEPTH: Final = 32
KEY_MAX_CHARACTERS: Final = 255


def check_text(value: str) -> str:
    if "\0" in value:
        raise ValueError("contains a NUL character")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("contains a surrogate, which UTF-8 cannot encode") from None
    return value


def check_json(value: dict[str, Any]) -> dict[str, Any]:
    _check_depth(value)
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    except ValueError:
        raise ValueError("contains NaN or an infinity, which JSON does not have") from None

    check_text(text)
    if "\\u0000" in text:
        raise ValueError("contains a NUL character")
    if len(text.encode()) > JSON_MAX_BYTES:
        raise ValueError(f"must be at most {JSON_MAX_BYTES:,} bytes of JSON")
    return value


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(JSON_MAX_DEPTH + 1):
        containers = [item for item in level if isinstance(item, dict | list)]
        level = [
            inner
            for item in containers
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return
    raise ValueError(f"must not nest deeper than {JSON_MAX_DEPTH} levels")


def check_key(value: str) -> str:
    """An idempotency key.

    Raises:
        ValueError: it is empty, too long, or no text that can be stored.
    """
    if not 1 <= len(value) <= KEY_MAX_CHARACTERS:
        raise ValueError(f"must have 1 to {KEY_MAX_CHARACTERS} characters")
    return check_text(value)
