"""Routes for those who look after the service."""

from collections.abc import Iterator
from http import HTTPStatus

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from api.context import Injected
from models import jobs
from models.database import Database
from models.errors import DatabaseError

router = APIRouter(tags=["health"])


@router.get("/healthz")
def healthz() -> dict[str, str]:
    """The process is alive."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(context: Injected) -> JSONResponse:
    """The database and the queue can be reached; 503 and the reason when not."""
    checks = {"database": _check_database(context.db), "queue": _check_queue(context.ping_queue())}
    ready = all(state == "ok" for state in checks.values())
    return JSONResponse(
        {"status": "ok" if ready else "unavailable", "checks": checks},
        HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE,
    )


def _check_database(db: Database) -> str:
    try:
        db.check_revision()
    except DatabaseError as error:
        return str(error)
    return "ok"


def _check_queue(reached: bool) -> str:
    return "ok" if reached else "The queue at CUEMILL_BROKER_URL can't be reached; jobs are kept and sent later."


@router.get("/metrics")
def metrics(context: Injected) -> Response:
    """Figures of the jobs in the database, in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Jobs(context.db))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class _Jobs(Collector):
    def __init__(self, db: Database) -> None:
        self._db = db

    def collect(self) -> Iterator[Metric]:
        totals = jobs.totals(self._db)
        by_status = GaugeMetricFamily("cuemill_jobs", "Jobs by status.", labels=["status"])
        for status, count in totals.jobs.items():
            by_status.add_metric([status], count)
        by_outcome = GaugeMetricFamily("cuemill_images", "Images by outcome, over all jobs.", labels=["outcome"])
        for outcome, count in totals.images.items():
            by_outcome.add_metric([outcome], count)
        yield by_status
        yield by_outcome
