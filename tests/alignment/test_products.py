from __future__ import annotations

import platform
from pathlib import Path

import pytest

from ctbench_core.alignment import products


@pytest.mark.parametrize(
    ("cpuinfo", "processor", "is_amd"),
    [
        ("vendor_id : AuthenticAMD", "", True),
        ("vendor_id : GenuineIntel", "AuthenticAMD", False),
        (None, "AMD64 Family 25 Model 97 Stepping 2, AuthenticAMD", True),
        (None, "Intel64 Family 6 Model 167 Stepping 1, GenuineIntel", False),
    ],
)
def test_the_maker_of_the_processor_is_read_on_linux_and_windows(
    cpuinfo: str | None, processor: str, is_amd: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_text(path: Path, encoding: str) -> str:
        assert path == Path("/proc/cpuinfo")
        if cpuinfo is None:
            raise FileNotFoundError(path)
        return cpuinfo

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr(platform, "processor", lambda: processor)
    assert products._is_amd.__wrapped__() is is_amd
