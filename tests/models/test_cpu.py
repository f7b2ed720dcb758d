"""What the CPU supports, by vendor and flags."""

from pathlib import Path

import pytest

from models import cpu


@pytest.mark.parametrize(
    ("vendor", "flags", "has", "gains"),
    [
        ("GenuineIntel", "avx512_bf16 amx_bf16", True, True),
        ("GenuineIntel", "avx512_bf16", True, False),
        ("AuthenticAMD", "avx512_bf16", True, True),
        ("AuthenticAMD", "sse2 avx512f", False, False),
    ],
)
def test_bf16_and_its_gain_are_found_by_vendor_and_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vendor: str, flags: str, has: bool, gains: bool
) -> None:
    (tmp_path / "cpuinfo").write_text(f"vendor_id : {vendor}\nflags : fpu {flags} ht\n")
    monkeypatch.setattr(cpu, "CPU_INFO", tmp_path / "cpuinfo")
    assert (cpu.has_bf16(), cpu.gains_by_bf16()) == (has, gains)
