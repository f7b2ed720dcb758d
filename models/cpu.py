"""What this machine's CPU supports."""

from pathlib import Path
from typing import Final

CPU_INFO: Final = Path("/proc/cpuinfo")

_INT8: Final = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
_AMX_BF16: Final = "amx_bf16"
_AVX512_BF16: Final = "avx512_bf16"
_AMD: Final = "AuthenticAMD"


def has_bf16() -> bool:
    """Whether it has bfloat16 arithmetic that OpenVINO and TensorFlow use; False without /proc."""
    return not {_AMX_BF16, _AVX512_BF16}.isdisjoint(_cpu_info())


def has_int8() -> bool:
    """Whether it has vector instructions for 8-bit integers, which make int8 faster."""
    return not _INT8.isdisjoint(_cpu_info())


def gains_by_bf16() -> bool:
    """Whether bfloat16 arithmetic is faster than float32 (docs/decisions/0003).

    It is with AMX, and on AMD CPUs with AVX-512 BF16. Intel CPUs that have only AVX-512 BF16, such
    as virtual machines that hide AMX, are slower. The answer comes from flags, not from timing, so
    that one machine always gives the same scores.
    """
    words = _cpu_info()
    return _AMX_BF16 in words or {_AVX512_BF16, _AMD} <= words


def _cpu_info() -> frozenset[str]:
    """The words of /proc/cpuinfo, among them the vendor and the flags."""
    try:
        return frozenset(CPU_INFO.read_text().split())
    except OSError:
        return frozenset()
