"""The notebook of the examples runs from start to end, and its stored outputs are those of today's code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from docs.notebook import PLOTLY, read_notebook, run_cells, source_of


def _shown(cell: dict[str, Any]) -> list[set[str]]:
    """Return the kinds of what a cell shows; pictures are made by the script alone."""
    return [set(output.get("data", {"stream": ""})) - {"image/png"} for output in cell["outputs"]]


def _numbers(cell: dict[str, Any]) -> list[float]:
    """Return the metrics in the text of a cell's outputs."""
    texts = ["".join(output.get("data", {}).get("text/plain", [])) for output in cell["outputs"]]
    return [float(number) for number in re.findall(r"(?<![\w.])0?\.\d{3}\b", " ".join(texts))]


def test_the_notebook_runs_from_start_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stored = read_notebook()
    ran = run_cells(stored)
    pairs = [pair for pair in zip(stored["cells"], ran["cells"]) if pair[0]["cell_type"] == "code"]
    assert len(pairs) > 12
    for before, after in pairs:
        assert _shown(after) == _shown(before), source_of(before)
        # Machines round differently, so that a run may stop at another epoch.
        assert _numbers(after) == pytest.approx(_numbers(before), abs=0.1), source_of(before)
    figures = [
        output["data"] for before, _ in pairs for output in before["outputs"] if PLOTLY in output.get("data", {})
    ]
    assert len(figures) == 7
    assert all("image/png" in figure for figure in figures)
    assert (tmp_path / "outputs" / "evaluations.jsonl").read_text().count("\n") == 2
