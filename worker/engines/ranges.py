"""Finds the ranges of values that a network's layers take, so that it can run in int8.

The range of each layer's input is the one that loses least when its values are rounded to 256
steps: candidates up to
the full range are compared by mean squared error over values sampled from real images. Source:
    Nagel et al. 2021,
"A White Paper on Neural Network Quantization", arXiv:2106.08295, section 3.1.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.release.release import Int8, Release
from worker.engines.core import openvino_core
from worker.engines.graph import build_probe

BATCH: Final = 64

SAMPLES: Final = 20_000
"""Values sampled from each tensor in each batch."""

SHARES: Final = np.linspace(0.2, 1.0, 33)
"""Candidates for the upper end of a range, as shares of the highest value."""

LOWEST_SHARE: Final = 0.5
"""Of the lowest value, for the lower end: behind a ReLU, negative values are few but matter."""


def find_ranges(release: Release, inputs: NDArray[np.float32]) -> Int8:
    """Finds the ranges that int8 needs on real inputs. The accuracy in int8 is not measured here.

    Args:
        inputs: (n, height, width, 3), scaled for the network; a few hundred.

    Raises:
        EngineError: the network is malformed.
    """
    names, probe = build_probe(release)
    compiled = openvino_core().compile_model(probe, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()

    random = np.random.default_rng(0)
    samples: list[list[NDArray[np.float32]]] = [[] for _ in names]
    for start in range(0, len(inputs), BATCH):
        request.infer({0: np.ascontiguousarray(inputs[start : start + BATCH])})
        for index, tensor_samples in enumerate(samples):
            values = request.get_output_tensor(index).data.ravel()
            tensor_samples.append(values[random.integers(values.size, size=SAMPLES)])

    ranges = {
        name: best_range(np.concatenate(tensor_samples))
        for name, tensor_samples in zip(names, samples, strict=True)
    }
    return Int8(ranges)


def best_range(values: NDArray[np.float32]) -> tuple[float, float]:
    """The range (low <= 0, high > 0) whose 256 steps represent the values with the least error."""
    lowest = min(float(values.min()), 0.0)
    highest = max(float(values.max()), 1e-6)
    candidates = [
        (lowest * max(share, LOWEST_SHARE), highest * share) for share in map(float, SHARES)
    ]
    return min(candidates, key=lambda ends: rounding_error(values, *ends))


def rounding_error(values: NDArray[np.float32], low: float, high: float) -> float:
    """Mean squared error of rounding the values to 256 steps from low to high."""
    step = (high - low) / 255
    first = np.round(low / step)
    rounded = np.clip(np.round(values / step), first, first + 255) * step
    return float(((rounded - values) ** 2).mean())
