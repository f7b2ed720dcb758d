"""What tests expect of a response."""

from typing import Any


def problem_detail(response: Any, status: int, code: str) -> str:
    """Checks that a response is a problem of this kind; its detail."""
    assert response.headers["Content-Type"] == "application/problem+json"
    body = response.json()
    assert (response.status_code, body["status"], body["code"]) == (status, status, code)
    return str(body["detail"])
