"""Route of the emotions."""

from fastapi.testclient import TestClient

from models.labels import EMOTIONS


def test_the_28_emotions_are_listed_in_the_order_of_the_labels(client: TestClient) -> None:
    emotions = client.get("/v1/emotions").json()["data"]
    assert [emotion["name"] for emotion in emotions] == list(EMOTIONS)
    assert emotions[9] == {"index": 9, "name": "doubt_confusion", "title": "Doubt/Confusion"}
