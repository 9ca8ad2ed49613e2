"""The tables of speeds: whole processes are measured, rows that were not measured again stay, and cost over size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks import everything, processes, scaling
from benchmarks.results_table import put_between_marks


def test_a_process_is_measured_as_a_whole() -> None:
    outcome = processes.run(["-c", "import time; kept = b'x' * (200 * 2**20); time.sleep(.2); print('done')"])
    assert outcome.seconds >= 0.2
    assert 0.19 < outcome.peak_gib < 0.4
    assert outcome.output.strip() == "done"


def test_a_process_that_fails_says_what_it_printed() -> None:
    with pytest.raises(RuntimeError, match="no such subject"):
        processes.run(["-c", "raise SystemExit('no such subject')"])


def test_a_subject_replaces_its_own_rows_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("Before\n<!-- table -->\nold\n<!-- end of table -->\nAfter\n", encoding="utf-8")
    monkeypatch.setattr(everything, "README", readme)
    monkeypatch.setattr(everything, "RESULTS", tmp_path / "results.json")

    def row(subject: str, seconds: float, **more: Any) -> Any:
        return lambda _: [everything.Row(subject, seconds, **more)]

    first = row("loading", 2.0, peak_gib=0.5, beside={"a loop": 5.0}, limit=(1.0, "calls"))
    monkeypatch.setattr(everything, "SUBJECTS", {"pack": first, "engine": row("an epoch", 0.65)})
    everything.main([])
    monkeypatch.setattr(everything, "SUBJECTS", {"pack": row("loading", 4.0), "engine": row("an epoch", 0.5)})
    everything.main(["--only", "engine"])
    text = readme.read_text(encoding="utf-8")
    assert "| loading | 2.00 s, 0.50 GiB | a loop 5.00 s (2.50x) | calls 1.00 s (2.00 of it) |" in text
    assert "| an epoch | 500 ms |" in text
    assert "650" not in text
    assert "old" not in text
    assert text.startswith("Before\n")
    assert text.endswith("After\n")
    stored = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert [rows[0]["ours"] for rows in stored["subjects"].values()] == [2.0, 0.5]
    assert capsys.readouterr().out


def test_marks_that_are_missing_are_named(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("no marks", encoding="utf-8")
    with pytest.raises(ValueError, match="lacks <!-- table -->"):
        put_between_marks(("<!-- table -->", "<!-- end -->"), "text", readme)


def test_the_exponent_is_that_of_the_largest_sizes() -> None:
    sizes = np.array([1e3, 1e4, 1e5, 1e6])
    assert scaling.exponent(sizes, 3e-6 * sizes**1.5) == pytest.approx(1.5)
    assert scaling.exponent(sizes, np.array([50, *(2e-9 * sizes[1:] ** 2)])) == pytest.approx(2)
    assert np.isnan(scaling.exponent(sizes[:1], sizes[:1]))


def test_a_sweep_that_was_stopped_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []

    def work(size: int) -> list[scaling.Measured]:
        measured.append(size)
        return [("read", size / 1e3, 0.5), ("write", 0.015, np.nan)]

    monkeypatch.setattr(scaling, "KINDS", {"rows": (work, (1_000, 10_000, 100_000), "rows")})
    known = pd.DataFrame([("rows", "read", 1_000, 1.0, 0.5)], columns=["kind", "work", "size", "seconds", "peak_gib"])
    kept: list[int] = []
    table = scaling.measure_all(["rows"], known, lambda rows: kept.append(len(rows)))
    assert measured == [10_000, 100_000]
    assert kept == [3, 5]
    text = scaling.markdown(table)
    assert "| rows | 1,000 | 10,000 | 100,000 | exponent |" in text
    assert "| read | 1.00 s, 0.50 GiB | 10.0 s, 0.50 GiB | 100.0 s, 0.50 GiB | 1.00 |" in text
    assert "| write |  | 15 ms | 15 ms | 0.00 |" in text
