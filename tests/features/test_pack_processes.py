"""Several processes on one pack, and killed processes: always one valid pack, never an error."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctbench_core.features import load_features

PROJECT = Path(__file__).resolve().parents[2]
Start = Callable[[], subprocess.Popen[str]]
NAMES = [f"v{i}.npy" for i in range(4_000)]
PACK = """
import sys
from ctbench_core.features import load_features
for line in sys.stdin:
    root, cache, files = line.rstrip("\\n").split("\\t")
    print("begin", flush=True)
    features = load_features(root, [f"v{i}.npy" for i in range(int(files))], cache=cache, mode="always")
    print(features.sample_prints.sum(), flush=True)
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a root of 4,000 vectors; number i is all i."""
    folder = tmp_path_factory.mktemp("root")
    for i, name in enumerate(NAMES):
        np.save(folder / name, np.full(32, i, np.float32))
    return folder


@pytest.fixture
def start() -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Return a starter of processes that pack what `order` tells them; none outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def call() -> subprocess.Popen[str]:
        pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        started.append(
            subprocess.Popen([sys.executable, "-c", PACK], cwd=PROJECT, text=True, encoding="utf-8", **pipes)
        )
        return started[-1]

    yield call
    for process in started:
        process.kill()
        process.communicate()


def order(process: subprocess.Popen[str], root: Path, cache: Path, files: int = len(NAMES)) -> None:
    """Let a process pack the first files of a root."""
    assert process.stdin is not None
    process.stdin.write(f"{root}\t{cache}\t{files}\n")
    process.stdin.flush()


def assert_valid(root: Path, cache: Path) -> None:
    features = load_features(root, NAMES, cache=cache, mode="always")
    assert features.problems == []
    np.testing.assert_array_equal(features.matrix[features.rows], np.arange(4_000.0)[:, None].repeat(32, axis=1))
    again = load_features(root, NAMES, cache=cache, mode="always")
    assert (again.files_read, again.sample_prints.tobytes()) == (0, features.sample_prints.tobytes())
    (folder,) = cache.iterdir()
    assert sorted(path.suffix for path in folder.iterdir() if path.name != "lock") == [".f32", ".json", ".npz"]


def test_two_processes_at_once_ten_times(root: Path, tmp_path: Path, start: Start) -> None:
    pair = [start(), start()]
    for turn in range(10):
        cache = tmp_path / str(turn)
        # In every other turn they ask for different files, so that the second must renew the first one's pack.
        for process, files in zip(pair, (len(NAMES), len(NAMES) - (turn % 2) * 1_500)):
            order(process, root, cache, files)
        for process in pair:
            assert process.stdout is not None
            assert process.stdout.readline() == "begin\n"
            assert process.stdout.readline().strip().isdigit()
        assert_valid(root, cache)
    for process in pair:
        assert process.communicate(timeout=120) == ("", "")
        assert process.returncode == 0


@pytest.mark.posix_files
def test_killed_at_ten_moments_the_next_has_a_valid_pack(root: Path, tmp_path: Path, start: Start) -> None:
    draw = random.Random(8)
    cache, killed = tmp_path / "cache", 0
    for turn in range(10):
        if turn % 3 == 0:
            cache = tmp_path / str(turn)  # sometimes nothing was there, sometimes a pack to be renewed
        for name in NAMES[turn::10]:
            os.utime(root / name)
        process = start()
        order(process, root, cache)
        assert process.stdout is not None
        assert process.stdout.readline() == "begin\n"
        try:
            process.wait(timeout=draw.uniform(0, 0.08))
        except subprocess.TimeoutExpired:
            process.kill()
            killed += process.wait() == (-signal.SIGKILL if os.name != "nt" else 1)
        if turn % 2:
            assert_valid(root, cache)
    assert killed >= 3
    assert_valid(root, cache)
