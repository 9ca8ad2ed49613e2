"""The ledger counts openings by the test set's identity over the whole run store, also when processes open at once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock, Timeout

from ctbench_core.atomic import append_line
from ctbench_core.runs import LEDGER, Ledger, OpeningCount

PROJECT = Path(__file__).resolve().parents[2]
OPEN = """
import json, sys
from pathlib import Path
from ctbench_core.runs import Ledger
ledger = Ledger(sys.argv[1])
sys.stdin.readline()
print(json.dumps([ledger.record(Path(sys.argv[2]), "train", "test.csv", "id").openings for _ in range(40)]))
"""


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "outputs")


def test_every_opening_of_a_set_counts_in_every_job_and_under_every_name(ledger: Ledger) -> None:
    openings = [
        ("r1", "train", "test.csv", "one"),
        ("r1", "train", "test.csv", "one"),  # again
        ("r2", "sweep", "renamed.csv", "one"),  # another job and file name
        ("r3", "train", "test.csv", "two"),  # another set of the same name
        ("r1", "sweep", "test.csv", "one"),  # another run of the same id
    ]
    counts = [ledger.record(Path(run), job, manifest, test_set) for run, job, manifest, test_set in openings]
    assert [count.openings for count in counts] == [1, 2, 3, 1, 4]
    assert [count.runs for count in counts] == [1, 1, 2, 1, 3]
    assert ledger.count(["one", "two"], "test") == OpeningCount(5, 4, 0)
    assert [one.manifest for one in ledger.openings_of(["one"])] == ["test.csv", "test.csv", "renamed.csv", "test.csv"]
    lines = [json.loads(line) for line in ledger.path.read_text(encoding="utf-8").splitlines()]
    assert [line["test_set"] for line in lines] == ["one", "one", "one", "two", "one"]
    assert {"when", "run", "job", "manifest"} < set(lines[0])


def test_lines_from_before_identities_are_unknown_sets(ledger: Ledger) -> None:
    ledger.path.parent.mkdir()
    old = [{"when": "2026", "run": f"/lab/r{n}", "job": "train", "manifest": "test.csv"} for n in range(3)]
    ledger.path.write_text("".join(json.dumps(line) + "\n" for line in [*old, old[0] | {"manifest": "other.csv"}]))
    assert ledger.record(Path("new"), "train", "test.csv", "id") == OpeningCount(1, 1, 3)
    assert ledger.record(Path("new"), "train", "third.csv", "third") == OpeningCount(1, 1, 0)
    assert [one.run_id for one in ledger.unknown_openings("test")] == ["r0", "r1", "r2"]


def test_a_line_that_was_cut_short_is_left_out(ledger: Ledger) -> None:
    ledger.record(Path("r1"), "train", "test.csv", "id")
    with ledger.path.open("a", encoding="utf-8") as file:
        file.write('{"when": "20')
    assert ledger.record(Path("r2"), "train", "test.csv", "id").openings == 2
    assert ledger.record(Path("r3"), "train", "test.csv", "id").openings == 3


def test_two_processes_never_get_the_same_count(ledger: Ledger) -> None:
    command = [sys.executable, "-c", OPEN, str(ledger.path.parent)]
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen([*command, run], cwd=PROJECT, stdin=pipe, stdout=pipe, text=True, encoding="utf-8")
        for run in ("r1", "r2")
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    counts = [json.loads(process.communicate()[0]) for process in processes]
    assert sorted(counts[0] + counts[1]) == list(range(1, 81))
    assert len((ledger.path.parent / LEDGER).read_text(encoding="utf-8").splitlines()) == 80


def test_the_line_and_its_count_are_one_step(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process can neither append before this opening is counted, nor count while it is appended."""
    steps = []

    def locked(step: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            with pytest.raises(Timeout):
                FileLock(ledger.path.with_name(".evaluations.lock")).acquire(blocking=False)
            steps.append(step.__name__)
            return step(*arguments)

        return call

    monkeypatch.setattr("ctbench_core.runs.ledger.append_line", locked(append_line))
    monkeypatch.setattr(Ledger, "count", locked(Ledger.count))
    assert ledger.record(Path("r1"), "train", "test.csv", "id").openings == 1
    assert steps == ["append_line", "count"]
