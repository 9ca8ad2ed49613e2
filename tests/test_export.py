"""The zip of a run: config, command, ledger, tables with their disclosures, and the files for a paper."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ctbench_core.evaluate import evaluate_run
from ctbench_core.export import export_run

Run = Callable[..., Path]


def unpacked(folder: Path) -> dict[str, bytes]:
    """Export a run, and return the files of its zip by their path in it."""
    result = export_run(folder)
    with zipfile.ZipFile(result["path"]) as archive:
        files = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    assert sorted(files) == sorted(result["files"])
    return files


def test_the_zip_holds_config_command_and_ledger(evaluated_run: Run) -> None:
    folder = evaluated_run()
    files = unpacked(folder)
    assert f"paths.outputs_root={folder.parents[1]}" in files["command.txt"].decode()
    assert [entry["manifest"] for entry in json.loads(files["openings.json"])] == ["test.csv"]
    assert files["config.yaml"] == (folder / "config.yaml").read_bytes()
    assert "checkpoints/final_model.pt" in files
    assert "checkpoints/last_state.pt" not in files


def test_every_table_of_the_zip_has_its_disclosures(evaluated_run: Run) -> None:
    evaluated_run({"utils.seed": 2})
    folder = evaluated_run({"data.label_origin": "report-derived", "model.inputs": "concat"}, openings=2)
    stored = pd.read_csv(folder / "evaluation" / "test" / "per_class.csv")
    assert set(stored["test_openings"]) == {3}
    evaluate_run(folder)  # one evaluation more, after those files
    (folder / "evaluation" / "test" / "extra.csv").write_text("a\n1\n", encoding="utf-8")
    files = unpacked(folder)
    tables = {name: text for name, text in files.items() if name.endswith(".csv") and name != "selection_index.csv"}
    assert {"per_class.csv", "calibration.csv", "extra.csv", "table.csv"} == {Path(name).name for name in tables}
    for name, text in tables.items():
        table = pd.read_csv(io.BytesIO(text))
        assert set(table["test_openings"]) == {4}, name
        assert set(table["leak_patients"]) == {0}, name
        assert set(table["label_origin"]) == {"report-derived"}, name
        assert table["warning"].str.contains("label leakage, not diagnosis").all(), name
    disclosures = json.loads(files["evaluation/test/marks.json"])
    assert (disclosures["openings"], disclosures["opened_by_runs"], disclosures["label_origin"]) == (
        4,
        2,
        ["report-derived"],
    )
    assert "not diagnosis" in disclosures["warning"]
    for name in ("paper/test/table.tex", "paper/test/methods.txt"):
        text = files[name].decode()
        assert "report-derived" in text
        assert "not diagnosis" in text
        assert re.search(r"evaluated 4 times by 2 runs", text)
    table = pd.read_csv(io.BytesIO(files["evaluation/test/per_class.csv"]))
    pd.testing.assert_frame_equal(table[["finding", "auprc", "auroc"]], stored[["finding", "auprc", "auroc"]])
    metrics = json.loads(files["evaluation/test/metrics.json"])
    assert metrics["openings"] == 4
    assert metrics["label_origin"] == ["report-derived"]


def test_a_leak_is_on_every_table(evaluated_run: Run, data: Path) -> None:
    test, train = data / "manifests" / "test.csv", data / "manifests" / "train.csv"
    lines = train.read_text(encoding="utf-8").splitlines()
    test.write_text("\n".join([*test.read_text(encoding="utf-8").splitlines(), lines[5]]) + "\n", encoding="utf-8")
    files = unpacked(evaluated_run({"paths.manifest_dir": str(data / "manifests")}))
    assert set(pd.read_csv(io.BytesIO(files["paper/test/table.csv"]))["leak_patients"]) == {1}
    assert "1 of its patients was also in the training" in files["paper/test/methods.txt"].decode()
    assert "leak: 1 patient" in files["paper/test/table.tex"].decode()


def test_the_verb_takes_the_current_folder(evaluated_run: Run, cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = evaluated_run()
    for argument, where in ((".", folder), (folder.name, folder.parent), (f"../{folder.name}", folder)):
        monkeypatch.chdir(where)
        ended = cli("export", argument)
        assert ended.code == 0, ended.err
        assert Path(ended.json["path"]) == folder.with_name(f"{folder.name}.zip")
        assert {"config.yaml", "paper/test/table.tex"} <= set(ended.json["files"])
