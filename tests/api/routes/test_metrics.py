"""Route of the metrics."""

import re

from fastapi.testclient import TestClient


def test_metrics_are_in_prometheus_text_format(client: TestClient, faces: str) -> None:
    client.post("/v1/jobs", json={"folder": faces})
    response = client.get("/metrics")
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    for line in (
        'cuemill_jobs{status="queued"} 1.0',
        'cuemill_workers{state="alive"} 0.0',
        "cuemill_unserved_jobs 1.0",
    ):
        assert line in response.text


def test_exactly_these_metrics_are_exposed(client: TestClient) -> None:
    names = re.findall(r"^# TYPE (\w+) gauge$", client.get("/metrics").text, re.MULTILINE)
    assert set(names) == {
        "cuemill_jobs",
        "cuemill_images",
        "cuemill_workers",
        "cuemill_worker_processes",
        "cuemill_batches",
        "cuemill_batches_lost",
        "cuemill_unserved_jobs",
        "cuemill_unserved_seconds",
        "cuemill_standstill_seconds",
    }
