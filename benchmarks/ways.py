"""Ways to classify pictures without Cuemill's queue and database, each in processes of its own."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.pictures.preprocessing import Preprocessing
from models.pictures.resize import read_pixels, resize
from models.release.files import load_release
from models.release.release import Release
from models.settings import SHIPPED_MODEL, Settings
from models.sources.read import read_image
from models.sources.walk import walk
from worker.engines.load import load_engine

BATCH = 64
KERAS_BATCH = 32  # The reference's, and Keras' own default.
CORES = sorted(os.sched_getaffinity(0))
SAMPLE = 4
IN_MEMORY = 4096
"""Pictures whose pixels a way keeps in memory, at most."""


Inputs = Any  # A list of paths, or an array of what is in the pictures.


@dataclass(frozen=True)
class Way:
    """A loaded way to classify pictures.

    Attributes:
        classify: takes a slice of what `prepare` returns.
        prepare: what is not measured: from paths to inputs.
    """

    classify: Callable[[Inputs], object]
    prepare: Callable[[list[bytes]], Inputs] = list


def folder_paths(folder: Path) -> list[bytes]:
    """The full paths of all pictures in a folder."""
    root = os.fsencode(folder.resolve())
    return [os.path.join(root, path) for path in walk(root, True)]


def read_file(path: bytes) -> bytes:
    return read_image(os.path.dirname(path), os.path.basename(path))[0]


def read_all(paths: list[bytes], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Decodes and resizes pictures as a worker does: uint8 (n, height, width, 3)."""
    return np.stack([read_pixels(read_file(path), preprocessing) for path in paths])


def warm_keras(release: Release) -> Any:
    """The network in Keras, after its first `predict`, which takes seconds."""
    from worker.engines.keras import to_keras

    network, preprocessing = to_keras(release), release.preprocessing
    blank = np.zeros((2 * KERAS_BATCH + 1, preprocessing.height, preprocessing.width, 3))
    network.predict(blank, batch_size=KERAS_BATCH, verbose=0)
    return network


def bare_engine() -> Way:
    """The network alone on one core, as a worker runs it, with its inputs in memory."""
    release = load_release(SHIPPED_MODEL)
    engine = load_engine(release, Settings())

    def prepare(paths: list[bytes]) -> NDArray[np.float32]:
        pixels = read_all(paths[:IN_MEMORY], release.preprocessing)
        return release.preprocessing.to_input(pixels)

    def classify(inputs: NDArray[np.float32]) -> None:
        for i in range(0, len(inputs), BATCH):
            engine.predict(inputs[i : i + BATCH])

    return Way(classify, prepare)


def without_queue() -> Way:
    """Read, decode and predict on one core, and keep nothing: what queue and database add to."""
    release = load_release(SHIPPED_MODEL)
    engine = load_engine(release, Settings())

    def classify(paths: list[bytes]) -> None:
        for i in range(0, len(paths), BATCH):
            pixels = read_all(paths[i : i + BATCH], release.preprocessing)
            engine.predict(release.preprocessing.to_input(pixels))

    return Way(classify)


def keras_predict() -> Way:
    """Keras' `predict` on all cores, with its inputs in memory."""
    release = load_release(SHIPPED_MODEL)
    network = warm_keras(release)

    def prepare(paths: list[bytes]) -> NDArray[np.float32]:
        pixels = read_all(paths[:IN_MEMORY], release.preprocessing)
        return release.preprocessing.to_input(pixels)

    def classify(inputs: NDArray[np.float32]) -> None:
        network.predict(inputs, batch_size=KERAS_BATCH, verbose=0)

    return Way(classify, prepare)


def plain_script() -> Way:
    """The reference's way, on all cores: read and resize every picture, then one `predict`."""
    release = load_release(SHIPPED_MODEL)
    network, preprocessing = warm_keras(release), release.preprocessing

    def classify(paths: list[bytes]) -> None:
        pixels = []
        for path in paths:
            with Image.open(path) as image:
                pixels.append(resize(image.convert("RGB"), preprocessing))
        inputs = preprocessing.to_input(np.stack(pixels))
        network.predict(inputs, batch_size=KERAS_BATCH, verbose=0)

    return Way(classify)


@dataclass(frozen=True)
class Measurement:
    """The speed of a way.

    Attributes:
        rate: images a second, of all processes.
        processor_ms: processor time an image, which other load on the machine changes less.
        samples: what the way returned for the first `SAMPLE` images of each share.
    """

    rate: float
    processor_ms: float
    samples: list[Any]


def measure(
    load: Callable[[], Way], folders: Sequence[Path], seconds: float, processes: int = 1
) -> list[Measurement]:
    """Measures a way on each folder, by all processes together.

    They share a folder's pictures, and start on it at the same time, after warming up.
    """
    context = get_context("spawn")
    start = context.Barrier(processes)
    results: Queue[list[Measurement]] = context.Queue()
    paths = [folder_paths(folder) for folder in folders]
    children = [
        context.Process(
            target=_work, args=(load, [p[i::processes] for p in paths], seconds, start, results)
        )
        for i in range(processes)
    ]
    for child in children:
        child.start()

    by_process = [results.get(timeout=3600) for _ in children]
    for child in children:
        child.join()
    return [
        Measurement(
            sum(share.rate for share in shares),
            sum(share.processor_ms for share in shares) / processes,
            [sample for share in shares for sample in share.samples],
        )
        for shares in zip(*by_process, strict=True)
    ]


def _work(
    load: Callable[[], Way],
    shares: list[list[bytes]],
    seconds: float,
    start: Barrier,
    results: "Queue[list[Measurement]]",
) -> None:
    way, measured = load(), []
    for share in shares:
        items = way.prepare(share)
        sample = way.classify(items[:SAMPLE])
        start.wait()
        measured.append(Measurement(*time_items(way.classify, items, seconds), [sample]))
    results.put(measured)


def time_items(
    classify: Callable[[Inputs], object], items: Inputs, seconds: float
) -> tuple[float, float]:
    """Items a second, and milliseconds of processor time an item, from about `seconds` of work.

    It first doubles how many items it takes at once until they take a third of the time, or are
    all; because a way may be faster with more items at once, only these count.
    """
    count = 4
    while True:
        count = min(2 * count, len(items))
        started, started_processor = time.perf_counter(), time.process_time()
        classify(items[:count])
        elapsed = time.perf_counter() - started
        if elapsed > seconds / 3 or count == len(items):
            break

    rounds = 1
    while time.perf_counter() - started < seconds:
        classify(items[:count])
        rounds += 1
    processed = rounds * count
    processor_s = time.process_time() - started_processor
    return processed / (time.perf_counter() - started), 1000 * processor_s / processed
