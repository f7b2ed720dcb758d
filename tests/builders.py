"""What tests build: a small release without TensorFlow, and folders of files."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from PIL import Image

from models.labels import EMOTIONS
from models.pictures.preprocessing import Preprocessing
from models.release.release import Node, Release
from models.store import jobs, scans
from models.store.database import Database
from models.store.tables import Job, Worker


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
    """48x48 RGB to the 28 emotions' scores, the same every time; which emotion is highest depends on the image."""
    return Release(
        "tiny", EMOTIONS, EMOTIONS, Preprocessing(), tiny_network(), tiny_weights(), "{}"
    )


def save_grey(path: Path, grey: int) -> None:
    """An 8x8 picture of one grey, and the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (grey, grey, grey)).save(path)


def touch(root: Path, *names: str) -> bytes:
    """Creates files of one byte, and their folders; returns the root as bytes."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return os.fsencode(root)


def submit_job(db: Database, release_id: int, images: int = 0) -> int:
    """A queued job or, if it has images, one whose folder is listed and whose batches of one image are queued."""
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
