"""Two ways to keep every core busy: a worker process a core, as we have it, or threads in one process.

python -m benchmarks.processes    # read, decode and predict, without queue and database; what decision 11 quotes
"""

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from multiprocessing import get_context
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.end_to_end import BATCH, CORES, folder_paths, pixels
from benchmarks.hardware import describe
from benchmarks.pictures import FACE, VIDEO, draw
from models.release.files import load_release
from models.release.release import Release
from models.settings import SHIPPED_MODEL
from worker.engines.graph import build_graph
from worker.engines.openvino import OpenVinoEngine

Predict = Callable[[NDArray[np.float32]], object]
ROUNDS = 3
COUNTS = {"4,000 of 48x48": (4_000, FACE), "800 of 640x480": (800, VIDEO)}


def own_graphs(release: Release, count: int) -> list[Predict]:
    """A compiled network for each thread."""
    return [OpenVinoEngine(release).predict for _ in range(count)]


def shared_graph(release: Release, count: int) -> list[Predict]:
    """One compiled network with a stream for each thread."""
    options = {"INFERENCE_NUM_THREADS": count, "NUM_STREAMS": count, "ENABLE_CPU_PINNING": False}
    int8 = OpenVinoEngine(release).precision == "int8"
    compiled = openvino.Core().compile_model(build_graph(release, int8=int8), "CPU", options)
    return [partial(_infer, compiled.create_infer_request()) for _ in range(count)]


def _infer(request: Any, batch: NDArray[np.float32]) -> None:
    request.infer({0: batch})


def work(
    shares: list[list[bytes]],
    make: Callable[[Release, int], list[Predict]],
    start: Barrier,
    answers: "Queue[tuple[float, float]]",
) -> None:
    """A process that has a thread for each share; answers with its seconds and its memory in MB."""
    release = load_release(SHIPPED_MODEL)
    preprocessing = release.preprocessing
    networks = make(release, len(shares))
    for network in networks:
        network(np.zeros((BATCH, preprocessing.height, preprocessing.width, 3), np.float32))

    def run(paths: list[bytes], network: Predict) -> None:
        for i in range(0, len(paths), BATCH):
            network(preprocessing.to_input(pixels(paths[i : i + BATCH], preprocessing)))

    threads = [
        threading.Thread(target=run, args=pair) for pair in zip(shares, networks, strict=True)
    ]
    start.wait()
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers.put((time.perf_counter() - begun, _memory_mb()))


def _memory_mb() -> float:
    """This process' share of what is in memory: what several have in common is divided among them."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1e3


def measure(
    shares: list[list[bytes]], processes: int, make: Callable[[Release, int], list[Predict]]
) -> list[float]:
    """Images per second, and MB of all processes, with the shares spread over so many."""
    context = get_context("spawn")
    start, answers = context.Barrier(processes), context.Queue()
    started = [
        context.Process(target=work, args=(shares[i::processes], make, start, answers))
        for i in range(processes)
    ]
    for process in started:
        process.start()
    seconds, memory = zip(*(answers.get(timeout=600) for _ in started), strict=True)
    for process in started:
        process.join()
    return [sum(map(len, shares)) / max(seconds), sum(memory)]


def ways() -> Iterator[tuple[str, int, Callable[[Release, int], list[Predict]]]]:
    yield "a process a core", len(CORES), own_graphs
    yield "threads, a network each", 1, own_graphs
    yield "threads, one network", 1, shared_graph


def main() -> None:
    table = Table("images/s, the best of some rounds", *COUNTS, "MB", box=None)
    rows: dict[str, list[str]] = {}
    with ExitStack() as stack:
        status = stack.enter_context(Console().status(""))
        for title, (count, size) in COUNTS.items():
            status.update(title)
            paths = folder_paths(
                draw(Path(stack.enter_context(tempfile.TemporaryDirectory())), count, size)
            )
            shares = [paths[i :: len(CORES)] for i in range(len(CORES))]
            found: dict[str, list[list[float]]] = {}
            for _ in range(ROUNDS):  # In turns, so that a noisy minute meets all alike.
                for way, processes, make in ways():
                    found.setdefault(way, []).append(measure(shares, processes, make))
            for way, answers in found.items():
                speed, memory = max(answers)
                rows.setdefault(way, []).append(f"{speed:,.0f}")
                if title == list(COUNTS)[-1]:
                    rows[way].append(f"{memory:,.0f}")
    for way, row in rows.items():
        table.add_row(way, *row)
    Console(width=120).print(table, "", describe(), highlight=False)


if __name__ == "__main__":
    main()
