"""Crash-safe writes: a reader sees the old file or the new one, never half of one."""

from __future__ import annotations

import errno
import json
import math
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctbench_core.atomic import (
    append_line,
    atomic_file,
    dump_json,
    leftovers,
    move,
    remove_leftovers,
    temporary_path,
    write_all,
    write_bytes,
    write_json,
    write_text,
)
from ctbench_core.errors import HeldError, RunError, StorageError


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


@pytest.fixture
def gone() -> str:
    """Return the temporary name of a process that has ended."""
    if not hasattr(os, "fork"):
        pytest.skip("no fork")
    reader, writer = os.pipe()
    if not (pid := os.fork()):
        os.write(writer, temporary_path(Path("file.txt")).name.encode())
        os._exit(0)
    os.waitpid(pid, 0)
    name = os.read(reader, 200).decode()
    os.close(reader), os.close(writer)
    return name


def test_only_what_no_process_can_be_writing_is_left_over(tmp_path: Path, gone: str) -> None:
    own, process = temporary_path(tmp_path / "file.txt").name, f"{os.getpid():x}-000000.tmp"
    names = {
        "of this process": (own, 0, False),
        "of this process's number, before it began": (own.replace(".file", ".other"), 10 * 86_400, True),
        "of a process that has ended": (gone, 0, True),
        "of another host, an hour ago": (f".a.ffffff-{process}", 3_600, False),
        "of another host, two days ago": (f".b.ffffff-{process}", 2 * 86_400, True),
        "of an earlier release, an hour ago": (".c.0a1b2c3d.tmp", 3_600, False),
        "of an earlier release, two days ago": (".d.0a1b2c3d.tmp", 2 * 86_400, True),
        "no temporary file": ("e.tmp", 10 * 86_400, False),
    }
    for name, age, _ in names.values():
        (tmp_path / name).write_text("half")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    folder = tmp_path / gone.replace(".file", ".folder")
    folder.mkdir()
    (folder / "inner").write_text("half")
    expected = {tmp_path / name for name, _, is_left in names.values() if is_left} | {folder}
    assert set(leftovers(tmp_path)) == expected
    remove_leftovers(tmp_path.parent)
    assert not any(path.exists() for path in expected)
    assert len(list(tmp_path.iterdir())) == len(names) + 1 - len(expected)


def test_the_first_write_to_a_folder_removes_what_a_killed_process_left_there(tmp_path: Path, gone: str) -> None:
    (tmp_path / gone).write_text("half")
    write_text(tmp_path / "file.txt", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]


@pytest.mark.parametrize(
    ("number", "cause", "advice"),
    [
        (errno.ENOSPC, "the disk is full", "Free space"),
        (errno.EDQUOT, "quota is used up", "ask for more"),
        (errno.EROFS, "the disk is read-only", "paths.outputs_root"),
        (errno.EACCES, "permission denied", "paths.outputs_root"),
        (errno.EMFILE, "too many files are open", "ulimit -n"),
        (errno.EIO, "the disk reports an error", "Check the disk"),
    ],
)
def test_a_refusal_names_file_cause_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, cause: str, advice: str
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError, match=f"file.txt: .*{cause}.*{advice}") as caught:
        write_text(tmp_path / "file.txt", "new")
    assert caught.value.errno == number
    assert isinstance(caught.value, RunError)  # exit code 1, and shown on every page


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the pauses between tries, which take no time here."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    return pauses


def refuse(monkeypatch: pytest.MonkeyPatch, name: str, until: Callable[[], bool]) -> None:
    """Let a function of ``os`` refuse as Windows does until something is true."""
    real = getattr(os, name)

    def refusing(*paths: Path) -> None:
        if not until():
            raise PermissionError(13, "held open")
        real(*paths)

    monkeypatch.setattr(os, name, refusing)


def test_a_file_held_for_three_seconds_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    refuse(monkeypatch, "replace", lambda: sum(waits) >= 3)
    write_text(tmp_path / "file.txt", "new")
    assert (tmp_path / "file.txt").read_text() == "new"
    assert 3 <= sum(waits) <= 4
    assert waits == sorted(waits) and waits[0] <= 0.02 and len(waits) < 15


def test_a_file_held_for_ever_stays_and_the_message_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    path = tmp_path / "table.csv"
    write_text(path, "old")
    refuse(monkeypatch, "replace", lambda: False)
    with pytest.raises(HeldError, match=r"table\.csv is open in another program.*Close it there"):
        write_text(path, "new")
    assert 30 <= sum(waits) <= 31
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("table.csv", "old")]


def test_a_move_is_a_rename_or_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> None:
    source, target = tmp_path / "run", tmp_path / "trash" / "run"
    write_text(source / "a.txt", "a")
    refuse(monkeypatch, "rename", lambda: sum(waits) >= 1)
    move(source, target)
    assert (target / "a.txt").read_text() == "a" and not source.exists() and sum(waits) >= 1
    write_text(source / "b.txt", "b")
    with pytest.raises(RunError, match="exists"):
        move(source, target)

    def other_disk(*paths: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "rename", other_disk)
    with pytest.raises(RunError, match="cross-device"):
        move(source, tmp_path / "elsewhere")
    refuse(monkeypatch, "rename", lambda: False)
    with pytest.raises(HeldError):
        move(source, tmp_path / "elsewhere")
    assert (source / "b.txt").read_text() == "b" and not (tmp_path / "elsewhere").exists()


def test_a_held_table_keeps_no_other_file_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    held, free = tmp_path / "held.csv", tmp_path / "metrics.json"
    real = os.replace

    def replace(source: Path, target: Path) -> None:
        if target == held:
            raise PermissionError(13, "held open")
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(HeldError, match=r"held\.csv"):
        write_all([partial(write_text, held, "new"), partial(write_text, free, "new")])
    assert free.read_text() == "new"


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
    assert dump_json({"a": "肺"}, ascii_only=True).isascii()


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


def test_a_line_that_does_not_fit_on_the_disk_leaves_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lines.jsonl"
    append_line(path, "one")

    class Full:
        """A file on a disk that takes three more bytes."""

        def __init__(self, file: Any) -> None:
            self.file, self.left = file, 3

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *error: object) -> None:
            self.file.close()

        def write(self, content: bytes) -> int:
            if not self.left:
                raise OSError(errno.ENOSPC, "No space left on device")
            part, self.left = content[: self.left], max(0, self.left - len(content))
            return int(self.file.write(part))

    real = Path.open
    with monkeypatch.context() as patch, pytest.raises(StorageError, match="the disk is full"):
        patch.setattr(Path, "open", lambda self, *args, **options: Full(real(self, *args, **options)))
        append_line(path, "two that is long")
    assert path.read_text() == "one\n"
