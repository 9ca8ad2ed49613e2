"""Crash-safe writes: a reader sees the old file or the new one, never half of one."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from ctbench_core.atomic import append_line, atomic_file, dump_json, write_bytes, write_json, write_text


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic_file(path) as file:
        file.write(b"half of the n")
        raise RuntimeError("power lost")
    assert path.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]


def test_a_reader_sees_no_file_before_the_first_write_ends(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file.bin"
    with atomic_file(path) as file:
        file.write(b"x" * 100_000)
        assert not path.exists()
    assert path.read_bytes() == b"x" * 100_000


def test_a_stale_temporary_file_does_not_block(tmp_path: Path) -> None:
    (tmp_path / ".file.txt.deadbeef.tmp").write_text("left by a killed process")
    write_text(tmp_path / "file.txt", "new")
    assert (tmp_path / "file.txt").read_text() == "new"


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.bin"
    write_bytes(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin"]


def test_a_replace_refused_for_a_moment_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows refuses to replace a file that a reader holds open."""
    refusals = [PermissionError("held open")] * 3
    real = os.replace

    def replace(source: Path, target: Path) -> None:
        if refusals:
            raise refusals.pop()
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr("ctbench_core.atomic._REPLACE_WAIT_S", 0.0)
    write_text(tmp_path / "file.txt", "new")
    assert (tmp_path / "file.txt").read_text() == "new"


def test_text_is_utf8_with_its_line_ends_kept(tmp_path: Path) -> None:
    write_text(tmp_path / "file.txt", "é\n肺\r\n")
    assert (tmp_path / "file.txt").read_bytes() == "é\n肺\r\n".encode()


def test_json_is_strict(tmp_path: Path) -> None:
    content = {
        "nan": math.nan,
        "inf": [math.inf, (-math.inf, 1.5)],
        "scalar": np.float32(0.5),
        "array": np.array([1.0, np.nan]),
        "int": np.int64(3),
        "path": Path("a") / "b",
        "bool": np.bool_(True),
        1: "é",
    }
    write_json(tmp_path / "file.json", content)
    assert json.loads((tmp_path / "file.json").read_text(encoding="utf-8")) == {
        "nan": None,
        "inf": [None, [None, 1.5]],
        "scalar": 0.5,
        "array": [1.0, None],
        "int": 3,
        "path": str(Path("a") / "b"),
        "bool": True,
        "1": "é",
    }
    assert "\n" not in dump_json({"text": "two\nlines"})


def test_lines_are_appended_whole(tmp_path: Path) -> None:
    path = tmp_path / "log" / "lines.jsonl"
    for line in ("one", "zwei – 2"):
        append_line(path, line)
    assert path.read_text(encoding="utf-8").splitlines() == ["one", "zwei – 2"]


def test_a_line_torn_by_a_crash_does_not_swallow_the_next(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text('{"epoch": 1}\n{"epo')
    append_line(path, '{"epoch": 2}')
    assert path.read_text().splitlines()[-1] == '{"epoch": 2}'
