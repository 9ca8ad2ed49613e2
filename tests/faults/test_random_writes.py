"""Work that is killed, or whose disk is full, at random writes: the short forms of `benchmarks.kills` and `full_disk`.

They run in a process of their own, since a fork of a test process with threads may hang.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="works in forks")


@pytest.mark.parametrize("form", ["kills 3 5 export score pack", "full_disk 1 5 score"])
def test_nothing_is_lost(form: str) -> None:
    module, *arguments = form.split()
    ended = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if "Mounting a tmpfs needs" in ended.stderr:
        pytest.skip(ended.stderr)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "0 lost, 0 unreadable, 0 blocked, 0 differing, 0 left over" in ended.stdout
