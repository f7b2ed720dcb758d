"""What this machine's processor can do."""

from pathlib import Path
from typing import Final

CPU_INFO: Final = Path("/proc/cpuinfo")
_BF16_FLAGS: Final = frozenset({"avx512_bf16", "amx_bf16"})


def has_bf16() -> bool:
    """Whether it has bfloat16 arithmetic that OpenVINO and TensorFlow use; False where there is no /proc to ask."""
    try:
        return not _BF16_FLAGS.isdisjoint(CPU_INFO.read_text().split())
    except OSError:
        return False
