"""A manifest is read once in a process, and again when its file changes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import ctbench_core
from ctbench_core.checks import check, check_tables
from ctbench_core.config import Config
from ctbench_core.experiment import run_experiment
from ctbench_core.manifest.read import read_cohort
from ctbench_core.tables import reader


def test_check_train_and_evaluate_read_each_manifest_once(
    make_config: Callable[..., Config], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: Counter[str] = Counter()
    read_bytes = reader.read_bytes
    monkeypatch.setattr(reader, "read_bytes", lambda path: reads.update([path.name]) or read_bytes(path))
    config = make_config(data, {"evaluation.after_training": True, "training.max_epochs": 1})
    assert check_tables(config).ok and check(config).ok
    result = run_experiment(config)
    ctbench_core.evaluate_run(result["run_dir"])
    assert reads == {"train.csv": 1, "valid.csv": 1, "test.csv": 1}


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps no time at which a file's times were set")
def test_a_file_that_changes_is_read_again_also_with_its_size_and_time(config: Config, data: Path) -> None:
    path = data / "manifests" / "train.csv"
    before, status = read_cohort(path, config), path.stat()
    assert read_cohort(path, config) is before
    content = path.read_bytes()
    first = content.splitlines()[1]
    label = first[-1:]
    changed = content.replace(first, first[:-1] + (b"0" if label == b"1" else b"1"), 1)
    with path.open("r+b") as file:  # in place: the same file
        file.write(changed)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    after = read_cohort(path, config)
    assert after.digest != before.digest and (after.targets[0] != before.targets[0]).sum() == 1
