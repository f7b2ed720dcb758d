"""The audit over HTTP."""

import pytest
from fastapi.testclient import TestClient

from models.store import keys
from models.store.database import Database
from models.store.keys import Scope

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_it_lists_who_did_what_newest_first_page_by_page(
    client: TestClient, db: Database, faces: str
) -> None:
    text = keys.create(db, "root", Scope.ADMIN)
    client.headers["Authorization"] = f"Bearer {text}"
    client.post("/v1/jobs", json={"folder": faces})
    client.post("/v1/jobs/1/cancel")

    first = client.get("/v1/audit", params={"limit": 2}).json()
    assert [(entry["actor"], entry["act"], entry["target"]) for entry in first["data"]] == [
        ("root", "job.cancel", "1"),
        ("root", "job.submit", "1"),
    ]
    assert first["has_more"]

    rest = client.get("/v1/audit", params={"limit": 2, "after": first["next"]}).json()
    assert [entry["act"] for entry in rest["data"]] == ["key.create"]
    assert rest["data"][0]["target"] == first["data"][0]["key_id"]
    assert (rest["has_more"], rest["next"]) == (False, None)
    assert text not in str(first) + str(rest)
