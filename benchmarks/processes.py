"""Ways to use every core: a worker process per core, as Cuemill does, or threads in one process.

python -m benchmarks.processes    # without queue and database; the figures of docs/decisions/0011
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

from benchmarks.hardware import describe
from benchmarks.pictures import FACE, VIDEO, draw
from benchmarks.ways import BATCH, CORES, folder_paths, read_all
from models.release.files import load_release
from models.release.release import Release
from models.settings import SHIPPED_MODEL
from worker.engines.graph import build_graph
from worker.engines.openvino import OpenVinoEngine

Predict = Callable[[NDArray[np.float32]], object]
ROUNDS = 3
COUNTS = {"4,000 of 48x48": (4_000, FACE), "800 of 640x480": (800, VIDEO)}


def own_graphs(release: Release, count: int) -> list[Predict]:
    """One compiled network per thread."""
    return [OpenVinoEngine(release).predict for _ in range(count)]


def shared_graph(release: Release, count: int) -> list[Predict]:
    """One compiled network with one stream per thread."""
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
    results: "Queue[tuple[float, float]]",
) -> None:
    """A process with a thread for each share. Reports its seconds, and its memory in MB."""
    release = load_release(SHIPPED_MODEL)
    preprocessing = release.preprocessing
    networks = make(release, len(shares))
    for network in networks:
        network(np.zeros((BATCH, preprocessing.height, preprocessing.width, 3), np.float32))

    def run(paths: list[bytes], network: Predict) -> None:
        for i in range(0, len(paths), BATCH):
            network(preprocessing.to_input(read_all(paths[i : i + BATCH], preprocessing)))

    threads = [
        threading.Thread(target=run, args=pair) for pair in zip(shares, networks, strict=True)
    ]
    start.wait()

    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put((time.perf_counter() - started, _memory_mb()))


def _memory_mb() -> float:
    """This process's memory. Pages that several processes share are divided among them."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1e3
    raise RuntimeError("/proc/self/smaps_rollup has no Pss.")


def measure(
    shares: list[list[bytes]], processes: int, make: Callable[[Release, int], list[Predict]]
) -> list[float]:
    """Images per second and memory in MB of all processes, with the shares spread over them."""
    context = get_context("spawn")
    start, results = context.Barrier(processes), context.Queue()
    workers = [
        context.Process(target=work, args=(shares[i::processes], make, start, results))
        for i in range(processes)
    ]
    for worker in workers:
        worker.start()
    seconds, memory_mb = zip(*(results.get(timeout=600) for _ in workers), strict=True)
    for worker in workers:
        worker.join()
    return [sum(map(len, shares)) / max(seconds), sum(memory_mb)]


def list_variants() -> Iterator[tuple[str, int, Callable[[Release, int], list[Predict]]]]:
    yield "a process per core", len(CORES), own_graphs
    yield "threads, a network each", 1, own_graphs
    yield "threads, one network", 1, shared_graph


def main() -> None:
    rows: dict[str, list[str]] = {}
    with ExitStack() as stack:
        status = stack.enter_context(Console().status(""))
        for title, (count, size) in COUNTS.items():
            status.update(title)
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            paths = folder_paths(draw(folder, count, size))
            shares = [paths[i :: len(CORES)] for i in range(len(CORES))]

            # In turn, so that other load on the machine affects all variants alike.
            measured: dict[str, list[list[float]]] = {}
            for _ in range(ROUNDS):
                for name, processes, make in list_variants():
                    measured.setdefault(name, []).append(measure(shares, processes, make))

            for name, rounds in measured.items():
                speed, memory_mb = max(rounds)
                rows.setdefault(name, []).append(f"{speed:,.0f}")
                if title == list(COUNTS)[-1]:
                    rows[name].append(f"{memory_mb:,.0f}")

    table = Table(f"images/s, best of {ROUNDS}", *COUNTS, "MB", box=None)
    for name, row in rows.items():
        table.add_row(name, *row)
    Console(width=120).print(table, "", describe(), highlight=False)


if __name__ == "__main__":
    main()
