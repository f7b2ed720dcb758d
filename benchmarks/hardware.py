"""What a figure was measured on."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path


def describe() -> str:
    """One line: date, processor, cores, versions."""
    names = [line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    libraries = ", ".join(f"{name} {version(name)}" for name in ("openvino", "celery", "sqlalchemy", "pillow"))
    processor = names[0] if names else platform.machine()
    date = datetime.now(UTC).date()
    return f"{date}, {processor}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}, {libraries}"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
