"""What a benchmark was measured on."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

FLAGS = ("amx_int8", "amx_bf16", "avx512_vnni", "avx512_bf16", "avx_vnni")
LIBRARIES = ("numpy", "openvino", "keras", "celery", "sqlalchemy", "pillow", "simplejpeg")


def describe() -> str:
    """One line: date, CPU, its low-precision instructions, limits on them, cores and versions."""
    lines = _cpu_info()
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    flags = {flag for line in lines if line.startswith("flags") for flag in line.split()}
    low_precision = (
        " ".join(flag for flag in FLAGS if flag in flags) or f"none of {' '.join(FLAGS)}"
    )

    parts = [
        str(datetime.now(UTC).date()),
        models[0] if models else platform.machine(),
        f"with {low_precision}",
    ]
    isa_limit = os.environ.get("ONEDNN_MAX_CPU_ISA")
    if isa_limit:
        parts.append(f"ONEDNN_MAX_CPU_ISA={isa_limit}")
    parts.append(f"{len(os.sched_getaffinity(0))} cores")
    parts.append(f"Python {platform.python_version()}")
    parts.extend(f"{name} {version(name)}" for name in LIBRARIES)
    return ", ".join(parts)


def _cpu_info() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
