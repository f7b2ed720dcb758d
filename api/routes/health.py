"""Routes for those who look after the service."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from api.context import Injected
from models.health.checks import State, snapshot
from models.store import jobs
from models.store.database import Database

ESSENTIAL: Final = ("database", "writes", "queue", "disk")
"""Without one of these the API can't do its own work; workers may be away for a while."""

router = APIRouter(tags=["health"])


@router.get("/healthz")
def healthz() -> dict[str, str]:
    """The process is alive."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(context: Injected) -> JSONResponse:
    """What was looked at, each `ok` or a sentence that says what to do.

    `unavailable` (503): the API can't keep or announce a job. `degraded` (200): it can, but something else needs a
    person, such as workers that died.
    """
    checks = context.watch.look()
    wrong = [check for check in checks if check.state is not State.OK]
    unable = any(check.state is State.PROBLEM and check.name in ESSENTIAL for check in wrong)
    return JSONResponse(
        {
            "status": "unavailable" if unable else "degraded" if wrong else "ok",
            "checks": {check.name: check.message if check in wrong else "ok" for check in checks},
        },
        HTTPStatus.SERVICE_UNAVAILABLE if unable else HTTPStatus.OK,
    )


@router.get("/metrics")
def metrics(context: Injected) -> Response:
    """Figures of the jobs and workers in the database, in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Jobs(context.db))
    registry.register(_Workers(context.db))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class _Jobs(Collector):
    def __init__(self, db: Database) -> None:
        self._db = db

    def collect(self) -> Iterator[Metric]:
        totals = jobs.totals(self._db)
        by_status = GaugeMetricFamily("cuemill_jobs", "Jobs by status.", labels=["status"])
        for status, count in totals.jobs.items():
            by_status.add_metric([status], count)
        by_outcome = GaugeMetricFamily(
            "cuemill_images", "Images by outcome, over all jobs.", labels=["outcome"]
        )
        for outcome, count in totals.images.items():
            by_outcome.add_metric([outcome], count)
        yield by_status
        yield by_outcome


class _Workers(Collector):
    def __init__(self, db: Database) -> None:
        self._db = db

    def collect(self) -> Iterator[Metric]:
        found = snapshot(self._db)
        programs = GaugeMetricFamily(
            "cuemill_workers", "Worker programs by state.", labels=["state"]
        )
        programs.add_metric(["alive"], len(found.alive))
        programs.add_metric(["silent"], len(found.silent))
        batches = GaugeMetricFamily(
            "cuemill_batches", "Unfinished batches by state.", labels=["state"]
        )
        for state, count in found.batches.items():
            batches.add_metric([state], count)
        yield programs
        yield batches
        processes = sum(program.processes for program in found.alive)
        for name, help_text, value in (
            (
                "cuemill_worker_processes",
                "Processes of the worker programs that are alive.",
                processes,
            ),
            (
                "cuemill_batches_lost",
                "Running batches whose worker let its lease run out.",
                found.lost,
            ),
            (
                "cuemill_unserved_jobs",
                "Jobs that no living worker is there for.",
                found.unserved.jobs,
            ),
            (
                "cuemill_unserved_seconds",
                "How long the oldest of them has waited.",
                found.unserved.since_s,
            ),
            (
                "cuemill_standstill_seconds",
                "How long work hasn't moved, though workers live.",
                found.standstill_s,
            ),
        ):
            yield GaugeMetricFamily(name, help_text, value=value)
