"""Several processes on one pack, and killed processes: always one valid pack, never an error."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ctbench_core.features import load_features

PROJECT = Path(__file__).resolve().parents[2]
NAMES = [f"v{i}.npy" for i in range(4_000)]
PACK = """
import sys
from ctbench_core.features import load_features
names = [f"v{i}.npy" for i in range(int(sys.argv[3]))]
print("begin", flush=True)
for _ in range(int(sys.argv[4])):
    features = load_features(sys.argv[1], names, cache=sys.argv[2], mode="always")
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
def start() -> Iterator[object]:
    """Return a starter of packing processes; none outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def call(root: Path, cache: Path, files: int = len(NAMES), times: int = 1) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", PACK, str(root), str(cache), str(files), str(times)]
        process = subprocess.Popen(
            command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
        )
        started.append(process)
        return process

    yield call
    for process in started:
        process.kill()
        process.communicate()


def assert_valid(root: Path, cache: Path) -> None:
    features = load_features(root, NAMES, cache=cache, mode="always")
    assert features.problems == []
    np.testing.assert_array_equal(features.matrix[features.rows], np.arange(4_000.0)[:, None].repeat(32, axis=1))
    again = load_features(root, NAMES, cache=cache, mode="always")
    assert (again.files_read, again.sample_prints.tobytes()) == (0, features.sample_prints.tobytes())
    (folder,) = cache.iterdir()
    assert sorted(path.suffix for path in folder.iterdir() if path.name != "lock") == [".f32", ".json", ".npz"]


def test_two_processes_at_once_ten_times(root: Path, tmp_path: Path, start) -> None:  # type: ignore[no-untyped-def]
    for turn in range(10):
        cache = tmp_path / str(turn)
        # In every other turn they ask for different files, so that the second must renew the first one's pack.
        pair = [start(root, cache), start(root, cache, files=len(NAMES) - (turn % 2) * 1_500)]
        for process in pair:
            out, err = process.communicate(timeout=120)
            assert (process.returncode, err) == (0, "")
            assert len(out.split()) == 2
        assert_valid(root, cache)


@pytest.mark.posix_files
def test_killed_at_ten_moments_the_next_has_a_valid_pack(root: Path, tmp_path: Path, start) -> None:  # type: ignore[no-untyped-def]
    draw = random.Random(8)
    cache, killed = tmp_path / "cache", 0
    for turn in range(10):
        if turn % 3 == 0:
            cache = tmp_path / str(turn)  # sometimes nothing was there, sometimes a pack to be renewed
        for name in NAMES[turn::10]:
            os.utime(root / name)
        process = start(root, cache)
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
