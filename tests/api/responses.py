"""What tests expect of a response."""

from typing import Any

from api.codes import CODES


def problem_detail(response: Any, status: int, code: str) -> str:
    """Checks that a response is a problem of this kind; its detail."""
    assert response.headers["Content-Type"] == "application/problem+json"
    body = response.json()
    assert (response.status_code, body["status"], body["code"]) == (status, status, code)
    assert status in CODES[code].statuses, "api/codes.py explains each code"
    assert body["type"] == f"/docs/errors#{code}"
    return str(body["detail"])
