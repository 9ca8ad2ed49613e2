"""A run's epochs are read on from where the last look ended, whatever happens to the file meanwhile."""

from __future__ import annotations

import json
from pathlib import Path

from ctbench_core.runs import cut_history, follow_history, read_history


def add(path: Path, *epochs: int, end: str = "\n") -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write("\n".join(json.dumps({"epoch": epoch}) for epoch in epochs) + end)


def epochs(path: Path) -> list[int]:
    return [entry["epoch"] for entry in follow_history(path)]


def test_new_lines_are_read_on_and_a_torn_one_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert epochs(path) == []
    add(path, 1, 2)
    first = follow_history(path)
    add(path, 3, end="")
    assert epochs(path) == [1, 2]
    add(path, end="\n")
    assert epochs(path) == [1, 2, 3]
    assert follow_history(path)[0] is first[0]  # nothing was read twice
    assert len(first) == 2  # what a reader holds does not grow under its hands
    assert follow_history(path) == read_history(path)


def test_a_file_cut_back_by_a_resume_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    add(path, 1, 2, 3, 4)
    assert epochs(path) == [1, 2, 3, 4]
    cut_history(path, 2)
    assert epochs(path) == [1, 2]
    add(path, 3)
    assert epochs(path) == [1, 2, 3]


def test_lines_that_are_no_epoch_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"epo\n{"note": 1}\n{"epoch": 1}\n', encoding="utf-8")
    assert follow_history(path) == read_history(path) == [{"epoch": 1}]
