"""Learning curves of several runs: what is read, what is drawn, and what is said of a run without a curve."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ctbench_core import figures
from ctbench_core.config import Config
from ctbench_core.palette import keep_places, line_style
from ctbench_core.runs import (
    FIRST_METRICS,
    MOST_CURVES,
    RunPaths,
    curve_titles,
    learning_curves,
    new_status,
    write_config,
    write_status,
)


def write_run(folder: Path, values: list[float | None]) -> Path:
    """Write a run whose validation AUPRC by epoch is given; the epoch of the highest value is its best."""
    paths = RunPaths(folder)
    write_config(paths.config, Config())
    write_status(paths.status, new_status(folder.name, max_epochs=len(values)), state="finished", epoch=len(values))
    best, lines = 0, []
    for epoch, value in enumerate(values, 1):
        highest = [known for known in values[:epoch] if known is not None]
        best = values.index(max(highest)) + 1 if highest else 0
        entry = {"epoch": epoch, "train_loss": 1 / epoch, "val_loss": 2 / epoch, "best_epoch": best}
        lines.append(json.dumps(entry | {"val_metrics": {"auprc": value}}))
    paths.metrics.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return folder


def test_curves_are_the_histories_of_the_runs(tmp_path: Path) -> None:
    values = {"a": [0.1, 0.5, 0.3], "b": [0.2, 0.4]}
    runs = {name: write_run(tmp_path / name, list(line)) for name, line in values.items()}
    curves = learning_curves(runs, ["auprc"])
    for name, line in values.items():
        own = curves.epochs[curves.epochs["run_id"] == name]
        assert (own["epoch"].tolist(), own["auprc"].tolist()) == (list(range(1, len(line) + 1)), line)
        assert curves.drawn.loc[curves.drawn["run_id"] == name, "value"].tolist() == line
    assert curves.best[["run_id", "epoch", "value"]].to_numpy().tolist() == [["a", 2, 0.5], ["b", 2, 0.4]]
    losses = learning_curves(runs, ["val_loss"]).drawn
    assert losses.loc[losses["run_id"] == "b", "value"].tolist() == [2.0, 1.0]
    assert not curves.missing


def test_smoothed_curves_keep_the_raw_values_and_the_best_epoch(tmp_path: Path) -> None:
    line = [0.1, 0.9, 0.3, 0.4]
    curves = learning_curves({"a": write_run(tmp_path / "a", list(line))}, ["auprc"], 0.5)
    expected = pd.Series(line).ewm(alpha=0.5).mean()
    np.testing.assert_allclose(curves.drawn["value"], expected)
    assert curves.drawn["raw"].tolist() == line
    assert curves.epochs["auprc"].tolist() == line
    assert curves.best["epoch"].tolist() == [2]
    assert curves.best["value"].tolist() == pytest.approx([expected[1]])


def test_a_long_run_is_drawn_by_fewer_points_and_exported_whole(tmp_path: Path) -> None:
    line = [0.001 + 0.5 * np.sin(epoch / 900) ** 2 for epoch in range(5000)]
    curves = learning_curves({"a": write_run(tmp_path / "a", line)}, ["auprc"])
    assert len(curves.drawn) < 1100
    assert curves.epochs["auprc"].tolist() == line


def test_a_run_without_a_curve_is_named_with_the_reason(tmp_path: Path) -> None:
    runs = {"good": write_run(tmp_path / "good", [0.5]), "none": write_run(tmp_path / "none", [None])}
    runs["empty"] = write_run(tmp_path / "empty", [])
    runs["damaged"] = write_run(tmp_path / "damaged", [0.5])
    RunPaths(runs["damaged"]).metrics.write_text("{\n", encoding="utf-8")
    runs["gone"] = tmp_path / "gone"
    curves = learning_curves(runs, ["auprc"])
    assert curves.drawn["run_id"].tolist() == ["good"]
    assert set(curves.missing) == {"none", "empty", "damaged", "gone"}
    assert curves.missing["none"] == "no Validation AUPRC in its history"
    assert curves.missing["empty"] == "no finished epoch"
    assert "is damaged" in curves.missing["damaged"]
    assert "is not a run directory" in curves.missing["gone"]


def test_several_metrics_are_read_together_and_each_run_has_those_of_its_history(tmp_path: Path) -> None:
    runs = {"good": write_run(tmp_path / "good", [0.5, 0.4]), "some": write_run(tmp_path / "some", [None, None])}
    curves = learning_curves(runs, ["auprc", "val_loss"])
    assert curves.epochs[["run_id", "epoch", "val_loss"]].to_numpy().tolist() == [
        [run_id, epoch, 2 / epoch] for run_id in runs for epoch in (1, 2)
    ]
    drawn = curves.drawn.groupby(["metric", "run_id"])["value"].apply(list).to_dict()
    assert drawn == {
        ("auprc", "good"): [0.5, 0.4],
        ("val_loss", "good"): [2.0, 1.0],
        ("val_loss", "some"): [2.0, 1.0],
    }
    assert curves.best[["metric", "epoch", "value"]].to_numpy().tolist() == [["auprc", 1, 0.5], ["val_loss", 1, 2.0]]
    assert curves.missing == {"some": "no Validation AUPRC in its history"}


def test_no_more_runs_are_read_than_are_drawn(tmp_path: Path) -> None:
    runs = {f"{place:02}": write_run(tmp_path / f"{place:02}", [0.5]) for place in range(MOST_CURVES + 1)}
    assert list(learning_curves(runs, ["auprc"]).drawn["run_id"]) == list(runs)[:MOST_CURVES]


def test_every_metric_of_a_history_can_be_drawn(tmp_path: Path) -> None:
    runs = {"a": write_run(tmp_path / "a", [0.5, 0.6])}
    titles = curve_titles()
    assert [titles[metric] for metric in FIRST_METRICS] == ["Validation AUPRC", "Validation loss"]
    assert {"train_loss", "val_loss", "auroc"} <= set(titles)
    for metric in titles:
        assert learning_curves(runs, [metric]).missing.keys() <= {"a"}


def test_the_chart_has_a_line_a_run_in_its_colour_and_a_dot_at_its_best_epoch() -> None:
    drawn = pd.DataFrame(
        {"run": ["a", "a", "b<"], "epoch": [1, 2, 1], "value": [0.1, 0.2, 0.3], "raw": [0.0, 0.3, 0.3]}
    )
    best = pd.DataFrame({"run": ["a"], "epoch": [2], "value": [0.2]})
    places = {"b<": 0, "a": 7}
    chart = figures.learning_curves(drawn, best, places, "Validation AUPRC")
    lines = [trace for trace in chart.data if trace.mode == "lines" and trace.showlegend is not False]
    assert [line.name for line in lines] == ["b&lt;", "a"]
    assert [(line.line.color, line.line.dash) for line in lines] == [line_style(0), line_style(7)]
    assert list(lines[1].y) == [0.1, 0.2]
    (dot,) = (trace for trace in chart.data if trace.mode == "markers")
    assert (list(dot.x), list(dot.y), dot.marker.color) == ([2], [0.2], line_style(7)[0])
    raw = [list(trace.y) for trace in chart.data if trace.opacity is not None]
    assert raw == [[0.3], [0.0, 0.3]]
    assert "raw" not in {
        trace.name for trace in figures.learning_curves(drawn.drop(columns="raw"), best, places, "x").data
    }
    assert (chart.layout.xaxis.title.text, chart.layout.yaxis.title.text) == ("epoch", "Validation AUPRC")


def test_a_line_keeps_its_colour_while_others_come_and_go() -> None:
    first = keep_places(["a", "b", "c"], {})
    assert first == {"a": 0, "b": 1, "c": 2}
    assert keep_places(["b", "d"], first) == {"b": 1, "d": 0}
    later = first | {"d": 0}
    both = keep_places(["a", "d"], later)
    assert both["a"] == 0
    assert both["d"] != 0
