"""A history file is read incrementally, whatever happens to it between two reads."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from ctbench_core.errors import DamagedFile
from ctbench_core.runs import follow_history, read_history, readers, truncate_history
from ctbench_core.runs.history import MOST_SPACED


def add(path: Path, *epochs: int, end: str = "\n") -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write("\n".join(json.dumps({"epoch": epoch}) for epoch in epochs) + end)


def epochs(path: Path) -> list[int]:
    return [int(epoch) for epoch in follow_history(path).columns["epoch"]]


def test_new_lines_are_added_and_an_incomplete_one_waits_for_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "metrics.jsonl"
    assert epochs(path) == []
    add(path, 1, 2)
    first = follow_history(path)
    add(path, 3, end="")
    assert epochs(path) == [1, 2]
    add(path, end="\n")
    assert epochs(path) == [1, 2, 3]
    assert len(first) == 2  # what an earlier call returned does not grow
    starts = []
    read = readers.read_bytes
    monkeypatch.setattr(readers, "read_bytes", lambda path, *place: starts.append(place[0]) or read(path, *place))
    size = path.stat().st_size
    add(path, 4)
    assert epochs(path) == [1, 2, 3, 4]
    assert starts == [size]  # nothing was read twice


def test_a_long_history_is_read_in_pieces_and_keeps_evenly_spaced_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "_PIECE", 30)
    path, count = tmp_path / "metrics.jsonl", 3 * MOST_SPACED
    lines = [
        {
            "epoch": n,
            "train_loss": n / 2,
            "val_metrics": {"auprc": None, "per_class": {"a": n}},
            "best_epoch": min(n, 7),
        }
        for n in range(1, count + 1)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    with pytest.raises(DamagedFile, match=r"line 1: Expected `object`, got `int`"):  # a finding's metrics are a mapping
        follow_history(path)
    lines = [
        line | {"val_metrics": {"auprc": None, "auroc": 0.5, "per_class": {"a": {"auprc": n / 1e6, "f1": 0.1}}}}
        for n, line in enumerate(lines, start=1)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    history = follow_history(path)
    assert len(history) == count
    assert list(history.columns["train_loss"]) == [line["train_loss"] for line in lines]
    assert math.isnan(history.columns["auprc"][5])
    assert history.columns["auroc"][5] == 0.5
    assert (history.best, history.last) == (lines[6], lines[-1])
    assert list(history.findings) == ["a"]
    assert list(history.findings["a"]) == [n / 1e6 for n in range(1, count + 1, 2)]


def test_a_file_truncated_by_a_resume_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    add(path, 1, 2, 3, 4)
    assert epochs(path) == [1, 2, 3, 4]
    truncate_history(path, 2)
    assert epochs(path) == [1, 2]
    add(path, 3)
    assert epochs(path) == [1, 2, 3]


@pytest.mark.parametrize(
    "line", ['{"epo', '{"note": 1}', '{"epoch": "1"}', '{"epoch": 1, "val_loss": NaN}', "[" * 100_000]
)
def test_a_line_that_is_no_epoch_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"epoch": 1}}\n\n{line}\n{{"epoch": 2}}\n', encoding="utf-8")
    for read in (read_history, follow_history):
        with pytest.raises(DamagedFile, match=r"metrics\.jsonl is damaged.*(line 3|nested)"):
            read(path)


def test_history_ignores_an_incomplete_last_line_and_is_truncated_cleanly(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"epoch": epoch, "label": "a\u2028b\x85c"}, ensure_ascii=False) for epoch in (1, 2, 3, 4)]
    path.write_text("\n".join(lines) + '\n{"epoch": 5, "va', encoding="utf-8")
    assert [entry["epoch"] for entry in read_history(path)] == [1, 2, 3, 4]
    truncate_history(path, 2)
    assert [json.loads(line)["epoch"] for line in path.read_text(encoding="utf-8").strip().split("\n")] == [1, 2]
    assert read_history(tmp_path / "none.jsonl") == []


def test_what_was_read_of_files_that_are_gone_is_dropped_and_the_rest_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "_values", readers._Values())
    kept = [tmp_path / f"kept-{number}" for number in range(150)]
    for path in kept:
        path.write_text("1", encoding="utf-8")
        readers.read_cached(path, int)
    for number in range(900):
        path = tmp_path / f"gone-{number}"
        path.write_text("1", encoding="utf-8")
        readers.read_cached(path, int)
        path.unlink()
        assert len(readers._values) <= 600
    monkeypatch.setattr(readers, "read_bytes", lambda _: pytest.fail("read again"))
    assert [readers.read_cached(path, int) for path in kept] == [1] * 150
