"""Findings whose names a lenient reader changes, or that look like Markdown or HTML, on every tab of their results."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from ctbench_core.config import Config
from ctbench_core.evaluate import ScoreOptions, score_table
from ctbench_core.export import export_run

Open = Callable[..., AppTest]
NAMES = ["None", "NA", "1", "01", "a,b", "![x](http://x.y/z.png) <b>", "Ödem"]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Store predictions of two models under awkward names of findings, and return their run directories."""
    folders, folder = [], tmp_path_factory.mktemp("names")
    for seed in (1, 2):
        draw = np.random.default_rng(seed)
        frame = pd.DataFrame({"volumename": [f"test_{p}_a_1" for p in range(1, 61)]})
        for place, label in enumerate(NAMES):
            frame[f"target_{label}"] = (np.arange(60) % (2 + place % 3) == 0).astype(int)
            frame[f"prob_{label}"] = (draw.random(60) * 0.7 + 0.3 * frame[f"target_{label}"]).round(4)
        (folder / f"model{seed}").mkdir()
        table = folder / f"model{seed}" / "test.csv"
        frame.to_csv(table, index=False)
        config = Config()
        config.paths.outputs_root, config.job_name = str(folder / "outputs"), f"model{seed}"
        folders.append(Path(score_table(table, ScoreOptions(name=f"model{seed}"), config)["run_dir"]))
    return folders


@pytest.fixture
def two(written: list[Path], store: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Let the app work on the store of both models."""
    monkeypatch.setenv("CTBENCH_OUTPUTS", str(written[0].parents[1]))
    return written


def _findings(app: AppTest) -> list[list[str]]:
    return [list(frame.value["finding"]) for frame in app.dataframe if "finding" in frame.value]


def test_files_and_export_keep_the_names(two: list[Path]) -> None:
    stored = json.loads((two[0] / "evaluation" / "test" / "metrics.json").read_text(encoding="utf-8"))
    assert list(stored["per_class"]) == NAMES
    with zipfile.ZipFile(export_run(two[0])["path"]) as archive:
        files = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    for name in ("evaluation/test/per_class.csv", "evaluation/test/calibration.csv", "paper/test/table.csv"):
        table = pd.read_csv(BytesIO(files[name]), dtype=str, keep_default_na=False)
        assert [one for one in dict.fromkeys(table["finding"]) if not one.startswith("macro")] == NAMES, name


@pytest.mark.parametrize("tab", ["Findings", "Curves", "Threshold", "Calibration", "Subgroups", "Paper", "Volumes"])
def test_every_tab_of_evaluate_opens(two: list[Path], open_page: Open, tab: str) -> None:
    app = open_page("evaluate", query={"run": two[0].name})
    app.session_state["tab"] = tab
    app.run()
    assert not app.exception
    assert not app.error
    for box in app.selectbox:
        if set(NAMES) <= set(box.options):
            for name in ("None", "01"):
                box.select(name).run()
                assert not app.exception, (tab, name)
    if tab == "Findings":
        assert NAMES in _findings(app)
    texts = [part.value for kind in (app.markdown, app.caption, app.warning) for part in kind]
    assert not any("![x](http" in text for text in texts), texts


@pytest.mark.parametrize("tab", ["Differences", "Curves", "Disagreements", "Settings", "Published", "Paper"])
def test_every_tab_of_compare_opens(two: list[Path], open_page: Open, tab: str) -> None:
    fields = {"compare.baseline": two[0].name, "compare.others": [two[1].name]}
    app = open_page("compare", fields)
    app.session_state["compare-tabs"] = tab
    app.run()
    assert not app.exception
    assert not app.error
    if tab == "Differences":
        assert ["macro", *NAMES] in _findings(app)
    if tab == "Curves":
        for name in NAMES:
            app.selectbox(key="compare-curve-finding").select(name).run()
            assert not app.exception
            charts = [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]
            assert len(charts) == 2
            assert all(len(trace["x"]) for chart in charts for trace in chart["data"]), name
