"""OpenVINO itself, of which each process has one that lives as long as it does."""

from functools import lru_cache

import openvino


@lru_cache(maxsize=1)
def openvino_core() -> openvino.Core:
    """Compiles networks.

    It must never be freed: OpenVINO then frees the stack on which signal handlers run, but leaves
    it registered, and the next signal, such as SIGTERM, is a segmentation fault (2026.4).
    """
    return openvino.Core()
