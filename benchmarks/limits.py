"""Where the time goes: the network's rate against the CPU's limit, and the cost of everything else.

python -m benchmarks.limits    # CPU time, which other load on the machine changes little

The CPU's limit is the rate of large convolutions in OpenVINO, in the same precision, on one core.
"""

import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from openvino import opset13 as ops
from rich.console import Console
from rich.table import Table

from benchmarks.hardware import describe
from benchmarks.jobs import embedded, run_job, scaled
from benchmarks.pictures import FACE, draw
from benchmarks.ways import BATCH
from models.pictures.resize import read_pixels
from models.release.files import load_release
from models.settings import SHIPPED_MODEL
from models.sources.read import read_image
from models.sources.walk import walk
from models.store.reuse import ReuseScope
from tests.integration.deployment import Deployment, processes_of
from worker.engines.graph import build_graph
from worker.engines.openvino import OpenVinoEngine

ROUNDS, IMAGES = 20, 20_000
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
CHANNELS, SIDE, LAYERS = 256, 24, 4
STEPS = ("open, read", "fingerprint", "decode", "scale", "network")


def multiply_adds(model: openvino.Model) -> int:
    """Multiply-adds of the convolutions and dense layers, for one image."""
    total = 0
    for op in model.get_ops():
        if op.get_type_name() not in ("Convolution", "MatMul"):
            continue
        output_axes = list(op.output(0).get_partial_shape())[2:]
        positions = int(np.prod([axis.get_length() for axis in output_axes], dtype=int))
        total += positions * int(np.prod(list(op.input(1).get_shape())))
    return total


def large_convolutions(*, int8: bool) -> openvino.Model:
    """A network that does little but multiply."""

    def rounded(values: Any, lowest: float, levels: int) -> Any:
        if not int8:
            return values
        low, high = np.float32(lowest), np.float32(1)
        return ops.fake_quantize(values, low, high, low, high, levels)

    images = ops.parameter([-1, CHANNELS, SIDE, SIDE], np.float32)
    x: Any = images
    for layer in range(LAYERS):
        random = np.random.default_rng(layer)
        weights = random.uniform(-1, 1, (CHANNELS, CHANNELS, 3, 3)).astype(np.float32) / CHANNELS
        kernel = rounded(ops.constant(weights), -1, 255)
        inputs = rounded(x, 0, 256)
        x = ops.relu(ops.convolution(inputs, kernel, [1, 1], [1, 1], [1, 1], [1, 1]))
    return openvino.Model([ops.result(x)], [images])


def seconds_per_image(model: openvino.Model, shape: tuple[int, ...], batch: int) -> float:
    """CPU time on one core; the best of all rounds."""
    options = {
        "INFERENCE_NUM_THREADS": 1,
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = openvino.Core().compile_model(model, "CPU", options).create_infer_request()
    inputs = np.random.default_rng(0).uniform(0, 1, (batch, *shape)).astype(np.float32)

    seconds = []
    for _ in range(ROUNDS):
        started = time.process_time()
        request.infer({0: inputs})
        seconds.append(time.process_time() - started)
    return min(seconds) / batch


def measure_networks() -> Table:
    """The shipped network's rate in float32 and int8, against the CPU's limit."""
    columns = ("images/s", "10^9 multiply-adds/s", "share of the CPU's limit")
    table = Table("the network, on one core", *columns, box=None)
    release = load_release(SHIPPED_MODEL)
    preprocessing = release.preprocessing
    shape = (preprocessing.height, preprocessing.width, 3)
    per_image = multiply_adds(build_graph(release))

    for int8 in (False, True):
        network_s = seconds_per_image(build_graph(release, int8=int8), shape, BATCH)
        large = large_convolutions(int8=int8)
        limit = multiply_adds(large) / seconds_per_image(large, (CHANNELS, SIDE, SIDE), 16)
        rate = per_image / network_s
        table.add_row(
            "int8" if int8 else "float32",
            f"{1 / network_s:,.0f}",
            f"{rate / 1e9:.0f}",
            f"{rate / limit:.2f}",
        )
    return table


def measure_steps() -> Table:
    """A worker's steps for an image, without the database; the least CPU time of all rounds."""
    release = load_release(SHIPPED_MODEL)
    preprocessing, engine = release.preprocessing, OpenVinoEngine(release)
    reuse = ReuseScope(release.sha256)
    with tempfile.TemporaryDirectory() as folder:
        root = os.fsencode(draw(Path(folder), 32 * BATCH, FACE).resolve())
        paths = list(walk(root, recursive=False))
        rounds = np.zeros((ROUNDS, len(STEPS)))
        for seconds in rounds:
            for i in range(0, len(paths), BATCH):
                times = [time.process_time()]

                files = [read_image(root, path)[0] for path in paths[i : i + BATCH]]
                times.append(time.process_time())

                for data in files:
                    reuse.fingerprint(data)
                times.append(time.process_time())

                pixels = [read_pixels(data, preprocessing) for data in files]
                times.append(time.process_time())

                inputs = preprocessing.to_input(np.stack(pixels))
                times.append(time.process_time())

                engine.predict(inputs)
                times.append(time.process_time())
                seconds[:] += np.diff(times)

    per_image_us = 1e6 * rounds.min(axis=0) / len(paths)
    table = Table("microseconds of CPU time per image", *STEPS, "all", box=None)
    columns = (*per_image_us, per_image_us.sum())
    table.add_row("a worker, on one core", *(f"{value:,.0f}" for value in columns))
    return table


def measure_programs() -> Table:
    """CPU time per image of each program."""
    columns = ("workers", "database", "queue", "other")
    table = Table("microseconds of CPU time per image", *columns, box=None)
    deployments: dict[str, Callable[[], AbstractContextManager[Deployment]]] = {
        "embedded": embedded,
        "scaled": scaled,
    }
    with tempfile.TemporaryDirectory() as folder:
        faces = draw(Path(folder), IMAGES, FACE)
        for name, deploy in deployments.items():
            with deploy() as cuemill:
                ticks = _ticks_of_job(cuemill, faces)
            us_per_image = {
                program: 1e6 * count / TICKS_PER_S / IMAGES for program, count in ticks.items()
            }
            programs = ("worker", "postgres", "redis-server", "other")
            table.add_row(name, *(f"{us_per_image.get(program, 0):,.0f}" for program in programs))
    return table


def _ticks_of_job(cuemill: Deployment, faces: Path) -> Counter[str]:
    """The ticks that each program spends on a job, with warm workers."""
    database = cuemill.database()
    database.upgrade()
    program = cuemill.start("worker")
    with tempfile.TemporaryDirectory() as warm_up:
        run_job(cuemill, database, draw(Path(warm_up), 8 * BATCH, FACE))

    before = _ticks_by_program(program.pid)
    run_job(cuemill, database, faces)
    return _ticks_by_program(program.pid) - before


def _ticks_by_program(worker_program: int) -> Counter[str]:
    """The ticks so far of a worker program's processes and of all servers."""
    ticks: Counter[str] = Counter()
    worker_processes = set(processes_of(worker_program))
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name, fields = (folder / "stat").read_text().split("(", 1)[1].rsplit(")", 1)
        except OSError:
            continue
        spent = sum(map(int, fields.split()[11:13]))
        if int(folder.name) in worker_processes:
            ticks["other" if int(folder.name) == worker_program else "worker"] += spent
        elif name in ("postgres", "redis-server"):
            ticks[name] += spent
    return ticks


def main() -> None:
    console = Console(width=120)
    with console.status("measuring ..."):
        networks, steps, programs = measure_networks(), measure_steps(), measure_programs()
    console.print(networks, "", steps, "", programs, "", describe(), highlight=False)


if __name__ == "__main__":
    main()
