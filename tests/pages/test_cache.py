"""What pages read is kept while its file is the same, within a number of bytes."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ctbench_core.config import Config
from ctbench_core.experiment import run_experiment
from ctbench_ui.shared import bounded_cache, cache


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a\n1\n")
    assert cache.load_table(path)["a"].tolist() == [1]
    path.write_text("a\n2\n")
    os.utime(path, ns=(1, 1))
    assert cache.load_table(path)["a"].tolist() == [2]


def test_the_stamp_of_a_missing_file_is_zero(tmp_path: Path) -> None:
    assert cache.stamp(tmp_path / "none") == (str(tmp_path / "none"), 0, 0)


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Begin with an empty cache."""
    bounded_cache.kept.clear()


def test_a_table_that_a_page_changes_is_read_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a\n1\n")
    table = cache.load_table(path)
    table["b"] = 2
    table.loc[0, "a"] = 9
    assert cache.load_table(path).to_dict("list") == {"a": [1]}
    names = cache.column_names(path)
    names.append("c")
    assert cache.column_names(path) == ["a"]


def test_what_was_not_used_for_the_longest_time_goes_first() -> None:
    small = bounded_cache.BoundedCache(most_bytes=3_000)
    made: list[tuple[str, int]] = []

    def ask(name: str, number: int, size: int = 1_000) -> None:
        small.get(name, number, lambda: made.append((name, number)) or np.zeros(size, np.int8), 3)

    ask("a", 1)
    ask("b", 1)
    ask("a", 1)  # used again
    ask("a", 2)
    ask("b", 2)  # the limit of bytes: b 1 goes
    ask("a", 1)
    assert made == [("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    ask("b", 1)
    assert made[-1] == ("b", 1)
    assert small.bytes == 3_000
    ask("c", 1, 4_000)  # larger than everything together: given, not kept
    assert small.bytes == 3_000
    for number in range(5):  # the limit of entries
        ask("d", number, 1)
    ask("d", 2, 1)
    assert made[-1] == ("d", 4)
    ask("d", 1, 1)
    assert made[-1] == ("d", 1)


def test_two_sessions_that_ask_at_once_wait_for_one_answer_and_an_error_is_not_kept() -> None:
    cached, entered, go_on = bounded_cache.BoundedCache(), threading.Event(), threading.Event()
    calls: list[int] = []

    def slow() -> int:
        calls.append(1)
        entered.set()
        assert go_on.wait(10)
        return 7

    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(cached.get("f", 1, slow, 4))) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert entered.wait(10)
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert (answers, calls) == ([7, 7, 7], [1])
    with pytest.raises(ZeroDivisionError):
        cached.get("f", 2, lambda: 1 // 0, 4)
    assert cached.get("f", 2, lambda: 3, 4) == 3


def test_the_size_of_a_value_is_that_of_its_arrays() -> None:
    @dataclasses.dataclass
    class Held:
        scores: np.ndarray
        tables: dict[str, pd.DataFrame]

    scores, table = np.zeros((1_000, 18)), pd.DataFrame(np.zeros((1_000, 4)))
    held = bounded_cache.size_of(Held(scores, {"one": table}))
    assert scores.nbytes + 32_000 <= held <= scores.nbytes + 34_000


def test_a_page_says_how_many_runs_it_reads_for_the_first_time(
    make_config: Callable[..., Config], tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Path(run_experiment(make_config(tiny_data))["run_dir"]).parents[1]
    monkeypatch.setattr(cache, "_MANY", 1)
    said: list[str] = []
    monkeypatch.setattr(cache.st, "spinner", lambda text, **_: said.append(text) or contextlib.nullcontext())
    for _ in range(2):
        assert cache.run_rows(store)
    assert said == ["Reading 1 run for the first time; later visits take a second."]


def test_the_frame_of_rows_is_made_anew_for_other_rows_and_not_shared() -> None:
    rows = [{"run_id": "a"}, {"run_id": "b"}]
    frame = cache.frame_of(rows)
    frame["more"] = 1
    assert list(cache.frame_of(rows).columns) == ["run_id"]
    assert cache.frame_of(rows[:1])["run_id"].tolist() == ["a"]
    assert cache.frame_of(rows)["run_id"].tolist() == ["a", "b"]
