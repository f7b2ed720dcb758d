"""What this machine's processor can do."""

from pathlib import Path
from typing import Final

CPU_INFO: Final = Path("/proc/cpuinfo")
_INT8: Final = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
_AMX: Final = "amx_bf16"
_AVX512: Final = "avx512_bf16"
_AMD: Final = "AuthenticAMD"


def has_bf16() -> bool:
    """Whether it has bfloat16 arithmetic that OpenVINO and TensorFlow use; False where there is no /proc to ask."""
    return not {_AMX, _AVX512}.isdisjoint(_cpu_info())


def has_int8() -> bool:
    """Whether it multiplies 8-bit integers several at a time, which is when int8 gains."""
    return not _INT8.isdisjoint(_cpu_info())


def gains_by_bf16() -> bool:
    """Whether that arithmetic is faster than float32's too (docs/decisions/0003).

    It is with AMX, and on AMD's processors with AVX-512 BF16. Intel's with AVX-512 BF16 alone, such as virtual machines
    that hide AMX, are slower by it. Told by flags and not by timing, so that one machine always gives the same scores.
    """
    found = _cpu_info()
    return _AMX in found or {_AVX512, _AMD} <= found


def _cpu_info() -> frozenset[str]:
    try:
        return frozenset(CPU_INFO.read_text().split())
    except OSError:
        return frozenset()
