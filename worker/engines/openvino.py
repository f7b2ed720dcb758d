"""OpenVINO on the CPU: the default engine.

Compiling takes about a tenth of a second, so compiled networks are not cached on disk: OpenVINO's
own cache saved nothing measurable and took 39 MB per model. The batch size stays dynamic: it ran as
fast as a fixed one, and an image's scores were bit-identical whatever its batch
(tests/worker/engines/test_openvino.py). But OpenVINO prepares itself for each batch size that it
meets, and keeps the result, so it should meet few (`benchmarks/batches.py`).
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.cpu import gains_by_bf16, has_bf16, has_int8
from models.errors import EngineError
from models.release.release import Release
from models.settings import Precision
from worker.engines.core import openvino_core
from worker.engines.graph import build_graph

MAX_BATCH: Final = 64
"""Images per inference; larger batches ran no faster."""


class OpenVinoEngine:
    """Runs a release on `threads` cores. Create it in the process that uses it, after any fork.

    Args:
        precision: auto = int8 where the CPU gains by it and the release admits it; else bf16 where
            the CPU gains by it; else f32. The label is nearly always the same
            (`benchmarks/accuracy.py`).

    Raises:
        EngineError: the network is malformed, or the CPU or the release does not support the
            precision.
    """

    name = "openvino"

    def __init__(self, release: Release, precision: Precision = "auto", threads: int = 1) -> None:
        self.precision: str = _choose_precision(precision, release)
        preprocessing = release.preprocessing
        self._input_shape = (preprocessing.height, preprocessing.width, 3)
        self._request = _compile(release, self.precision, threads).create_infer_request()

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores a batch, as `Engine.predict`.

        Raises:
            EngineError: the inputs have the wrong shape.
        """
        if batch.ndim != 4 or batch.shape[1:] != self._input_shape:
            expected = ", ".join(map(str, self._input_shape))
            raise EngineError(
                f"The network expects images of shape (n, {expected}), received {batch.shape}."
            )

        inputs = np.ascontiguousarray(batch, np.float32)
        scores = [self._request.infer({0: part}, share_inputs=True)[0] for part in _split(inputs)]
        return np.concatenate(scores)


def _split(inputs: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Parts with power-of-two lengths, the largest first, so that OpenVINO meets few sizes."""
    while len(inputs):
        size = min(MAX_BATCH, 1 << (len(inputs).bit_length() - 1))
        yield inputs[:size]
        inputs = inputs[size:]


def _choose_precision(precision: Precision, release: Release) -> str:
    if precision == "auto":
        if release.int8 and release.int8.admitted and has_int8():
            return "int8"
        return "bf16" if gains_by_bf16() else "f32"

    if precision == "bf16" and not has_bf16():
        raise EngineError("This CPU has no bfloat16 support. Set CUEMILL_PRECISION to auto or f32.")
    if precision == "int8" and not release.int8:
        raise EngineError(
            f"{release.name} has no int8 ranges. Add them with `cuemill models quantize`, "
            "or set CUEMILL_PRECISION to auto."
        )
    return precision


def _compile(release: Release, precision: str, threads: int) -> Any:
    options = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        # Pinning would put every worker of a machine on the same first cores.
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": "f32" if precision == "int8" else precision,
    }

    graph = build_graph(release, int8=precision == "int8")
    try:
        return openvino_core().compile_model(graph, "CPU", options)
    except RuntimeError as error:
        raise EngineError(
            f"OpenVINO cannot compile the network of {release.name}: {error}"
        ) from error
