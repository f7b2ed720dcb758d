"""What a figure was measured on."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

FLAGS = ("amx_int8", "amx_bf16", "avx512_vnni", "avx512_bf16", "avx_vnni")
LIBRARIES = ("numpy", "openvino", "keras", "celery", "sqlalchemy", "pillow", "simplejpeg")


def describe() -> str:
    """One line: date, processor, what it has for low precision and is kept from using, cores, versions."""
    info = _cpuinfo()
    names = [line.split(":")[1].strip() for line in info if line.startswith("model name")]
    has = {flag for line in info if line.startswith("flags") for flag in line.split()}
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA")
    parts = [
        str(datetime.now(UTC).date()),
        names[0] if names else platform.machine(),
        f"with {' '.join(flag for flag in FLAGS if flag in has) or 'none of ' + ' '.join(FLAGS)}",
        *([f"ONEDNN_MAX_CPU_ISA={limit}"] if limit else []),
        f"{len(os.sched_getaffinity(0))} cores",
        f"Python {platform.python_version()}",
        *(f"{name} {version(name)}" for name in LIBRARIES),
    ]
    return ", ".join(parts)


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
