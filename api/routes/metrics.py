"""Route of the metrics, in Prometheus' text format."""

from collections.abc import Iterator, Mapping
from functools import partial

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from api.context import InjectedContext
from models.health.snapshot import take_snapshot
from models.store import jobs
from models.store.database import Database

router = APIRouter(tags=["health"])


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    summary="Get metrics",
    response_description="Metrics in Prometheus' text format.",
)
async def metrics(context: InjectedContext) -> Response:
    """Get metrics of jobs, batches and workers, computed from the database for each request."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_DatabaseCollector(context.db))

    text = await context.costly.run(partial(generate_latest, registry))
    return Response(text, media_type=CONTENT_TYPE_LATEST)


class _DatabaseCollector(Collector):
    def __init__(self, db: Database) -> None:
        self._db = db

    def collect(self) -> Iterator[Metric]:
        yield from _job_metrics(self._db)
        yield from _work_metrics(self._db)


def _job_metrics(db: Database) -> Iterator[Metric]:
    totals = jobs.totals(db)

    yield _by_label("cuemill_jobs", "Jobs by status.", "status", totals.jobs)
    yield _by_label("cuemill_images", "Images of all jobs by outcome.", "outcome", totals.images)


def _work_metrics(db: Database) -> Iterator[Metric]:
    now = take_snapshot(db)
    programs = {"alive": len(now.alive), "silent": len(now.silent)}
    processes = sum(program.processes for program in now.alive)

    yield _by_label("cuemill_workers", "Worker programs by state.", "state", programs)
    yield GaugeMetricFamily(
        "cuemill_worker_processes", "Processes of living worker programs.", processes
    )
    yield _by_label("cuemill_batches", "Unfinished batches by state.", "state", now.batches)
    yield GaugeMetricFamily(
        "cuemill_batches_lost", "Running batches whose lease has expired.", now.lost
    )
    yield GaugeMetricFamily(
        "cuemill_unserved_jobs", "Jobs that no living worker can run.", now.unserved.jobs
    )
    yield GaugeMetricFamily(
        "cuemill_unserved_seconds",
        "Seconds that the oldest unserved job has waited.",
        now.unserved.since_s,
    )
    yield GaugeMetricFamily(
        "cuemill_standstill_seconds",
        "Seconds without progress although workers are alive and work is due.",
        now.standstill_s,
    )


def _by_label(
    name: str, documentation: str, label: str, values: Mapping[str, float]
) -> GaugeMetricFamily:
    metric = GaugeMetricFamily(name, documentation, labels=[label])
    for value, count in values.items():
        metric.add_metric([value], count)
    return metric
