"""Route of worker programs."""

import pytest
from fastapi.testclient import TestClient

from models.store import heartbeats
from models.store.database import Database
from tests.builders import age_rows


def test_workers_are_listed_by_name_the_living_and_the_dead(
    client: TestClient, db: Database
) -> None:
    heartbeats.beat(db, "b:1:0123abcd", 2, None, None)
    age_rows(db, 3600)
    heartbeats.beat(db, "a:7:4567ef01", 3, 12, None)

    page = client.get("/v1/workers").json()
    living, dead = page["data"]

    assert (page["has_more"], page["next"]) == (False, None)
    assert living | {"silent_s": 0, "idle_s": 0, "unswept_s": 0, "clock_ahead_s": 0} == {
        "name": "a:7:4567ef01",
        "alive": True,
        "processes": 3,
        "job_id": 12,
        "silent_s": 0,
        "idle_s": 0,
        "unswept_s": 0,
        "clock_ahead_s": 0,
        "troubles": [],
    }
    assert (dead["name"], dead["alive"]) == ("b:1:0123abcd", False)
    assert dead["silent_s"] == pytest.approx(3600, abs=60)
