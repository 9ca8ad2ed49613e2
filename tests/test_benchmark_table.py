"""The table of speeds: whole processes are measured, and rows that were not measured again stay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import everything, processes


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
