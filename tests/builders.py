"""What tests build: a small release without TensorFlow, folders of files, and jobs."""

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import sqlalchemy as sa
from numpy.typing import NDArray

from models.labels import EMOTIONS
from models.pictures.preprocessing import Preprocessing
from models.release.release import Node, Release
from models.store import batches, jobs, scans
from models.store.batches import Claim
from models.store.database import Database
from models.store.jobs import JobView, Submission
from models.store.records import FaceRecord, ImageRecord
from models.store.states import Outcome
from models.store.tables import Base, Batch, Image, Job, ModelRelease, Worker

LEASE_S = 30.0
SCORES = np.linspace(0, 2 / 28, 28, dtype=np.float32)
FACES = (FaceRecord(SCORES),)


def node(op: str, before: str, roles: tuple[str, ...] = (), **attributes: Any) -> Node:
    """A node named as its op."""
    weights = {role: f"{op}/{role}" for role in roles}
    return {"op": op, "name": op, "inputs": [before], "weights": weights, "attributes": attributes}


def tiny_network() -> list[Node]:
    return [
        node("conv2d", "input", ("kernel", "bias"), strides=[2, 2], padding="same"),
        node("relu", "conv2d"),
        node("batch_norm", "relu", ("gamma", "beta", "mean", "variance"), epsilon=1e-3),
        node("max_pool2d", "batch_norm", size=[4, 4], strides=[4, 4], padding="valid"),
        node("flatten", "max_pool2d"),
        node("dense", "flatten", ("kernel", "bias")),
        node("softmax", "dense"),
    ]


def tiny_weights() -> dict[str, NDArray[np.float32]]:
    random = np.random.default_rng(0)
    arrays = {
        "conv2d/kernel": random.normal(0, 0.4, (3, 3, 3, 8)),
        "conv2d/bias": random.normal(0, 0.2, 8),
        "batch_norm/gamma": random.uniform(0.5, 1.5, 8),
        "batch_norm/beta": random.normal(0, 0.2, 8),
        "batch_norm/mean": random.normal(0.5, 0.2, 8),
        "batch_norm/variance": random.uniform(0.5, 1.5, 8),
        "dense/kernel": random.normal(0, 0.15, (6 * 6 * 8, 28)),
        "dense/bias": random.normal(0, 0.2, 28),
    }
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def tiny_release() -> Release:
    """A release for 48x48 RGB, always the same, whose label depends on the image."""
    return Release(
        "tiny", EMOTIONS, EMOTIONS, Preprocessing(), tiny_network(), tiny_weights(), "{}"
    )


def save_grey(path: Path, grey: int) -> None:
    """An 8x8 picture of one grey, and the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", (8, 8), (grey, grey, grey)).save(path)


def touch(root: Path, *names: str) -> bytes:
    """Creates files of one byte, and their folders; returns the root as bytes."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return os.fsencode(root)


def add_release(db: Database, name: str) -> int:
    """Another release, with the values of the first one."""
    table = ModelRelease.__table__
    with db.write() as connection:
        first = connection.execute(sa.select(table).order_by(table.c.id).limit(1)).one()
        values = {**first._mapping, "name": name, "sha256": f"{name.encode().hex():0>64}"}
        del values["id"]
        insert = sa.insert(ModelRelease).values(values).returning(ModelRelease.id)
        return int(connection.execute(insert).scalar_one())


def submit_job(db: Database, release_id: int, images: int = 0) -> int:
    """A queued job; if it has images, it is listed, with batches of one image each."""
    job, _ = jobs.submit(db, jobs.Submission("/faces", release_id, batch_size=1))
    if images:
        claim = scans.claim(db, job.id, "h:9", lease_s=30)
        assert claim is not None
        for number in range(images):
            scans.record(db, claim, [(number, f"{number}.jpg")], lease_s=30)
        scans.finish(db, claim)

    return job.id


def age_rows(db: Database, seconds: float) -> None:
    """Makes all workers and jobs older by this much."""
    with db.write() as connection:
        for column in (Worker.started, Worker.seen, Worker.progressed):
            connection.execute(sa.update(Worker).values({column: column - seconds}))

        for row in connection.execute(sa.select(Job.id, Job.queued_at, Job.running_at)).all():
            times = {"queued_at": row.queued_at, "running_at": row.running_at}
            earlier = {
                name: time - timedelta(seconds=seconds) for name, time in times.items() if time
            }
            connection.execute(sa.update(Job).where(Job.id == row.id).values(earlier))


def queue_job(db: Database, release_id: int) -> JobView:
    """A queued job of a folder that has not been listed."""
    job, _ = jobs.submit(db, Submission("/photos", release_id, batch_size=4))
    return job


def list_folder(db: Database, job: JobView, images: int, batch_size: int = 4) -> None:
    """Scans a job's whole folder: 000.jpg, 001.jpg and so on."""
    claim = scans.claim(db, job.id, "scanner", LEASE_S)
    assert claim is not None
    items = [(number, f"{number:03}.jpg") for number in range(images)]
    assert scans.record(db, replace(claim, batch_size=batch_size), items, LEASE_S)
    assert scans.finish(db, claim)


def claim_batch(db: Database, worker: str = "worker") -> Claim:
    """Claims the oldest queued batch."""
    claim = batches.claim(db, None, worker, LEASE_S)
    assert claim is not None
    return claim


def records_of(claim: Claim, outcome: Outcome = Outcome.CLASSIFIED) -> list[ImageRecord]:
    """What a worker records when all images of a batch have this outcome."""
    if outcome is Outcome.CLASSIFIED:
        return [ImageRecord(number, path, outcome, faces=FACES) for number, path in claim.items]
    return [
        ImageRecord(number, path, outcome, "truncated", "Cut off.") for number, path in claim.items
    ]


def expire_leases(db: Database) -> None:
    """Makes the lease of every batch expire."""
    with db.write() as connection:
        connection.execute(sa.update(Batch).values(lease_until=0.0))


def count_rows(db: Database, table: type[Base]) -> int:
    with db.read() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def count_in_sql(db: Database, job_id: int) -> dict[str, int]:
    """A job's counts according to its images and batches, without those that the job keeps."""
    by_outcome = (
        sa.select(Image.outcome, sa.func.count())
        .where(Image.job_id == job_id)
        .group_by(Image.outcome)
    )
    by_state = (
        sa.select(Batch.state, sa.func.sum(Batch.size))
        .where(Batch.job_id == job_id)
        .group_by(Batch.state)
    )
    with db.read() as connection:
        outcomes = dict(connection.execute(by_outcome).all())
        states = dict(connection.execute(by_state).all())

    pending = states.get("queued", 0) + states.get("running", 0)
    cancelled = states.get("cancelled", 0)
    return {
        "total": sum(outcomes.values()) + pending + cancelled,
        "pending": pending,
        "cancelled": cancelled,
        **{outcome.value: outcomes.get(outcome, 0) for outcome in Outcome},
    }
