"""A truth of alignment is one declaration and its function: command line, JSON and page then have it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.retrieval_case import KS, brute_metrics, write_case

PROJECT = Path(__file__).resolve().parents[2]

# A truth of somebody: hits were made on the same scanner.
FUNCTION = """
def maker_groups(manifest, text, rows):
    return manifest.frame["Manufacturer"].to_numpy()
"""

SCRIPT = """
from ctbench_core.declared import TRUTHS, Truth

TRUTHS.add(Truth("maker", "same manufacturer", "maker_truth:maker_groups"))

import json, sys
from ctbench_core.cli.main import main

assert main([*json.loads(sys.argv[1]), "--json"]) == 0
try:
    main(["align", "--help"])
except SystemExit:
    pass

from streamlit.testing.v1 import AppTest

app = AppTest.from_file(sys.argv[2], default_timeout=60).run()
for word in json.loads(sys.argv[1])[1:3]:
    key, _, value = word.partition("=")
    app.session_state[key] = value
app.switch_page("../pages/alignment.py").run()
assert not app.exception, app.exception
boxes = [box for box in [*app.selectbox, *app.segmented_control] if box.label == "Match by"]
titles = [option for box in app.selectbox if box.label == "Result" for option in box.options]
print(json.dumps({"options": list(boxes[0].options), "titles": titles, "heads": [part.value for part in app.header]}))
"""


def test_a_registered_truth_is_chosen_as_any_other(tmp_path: Path) -> None:
    table = write_case(tmp_path / "case")
    (tmp_path / "maker_truth.py").write_text(FUNCTION, encoding="utf-8")
    words = [
        "align", f"paths.data_root={tmp_path / 'case/features'}", f"paths.manifest_dir={tmp_path / 'case/manifests'}",
        f"paths.outputs_root={tmp_path / 'outputs'}", "data.train_manifest=test.csv", "analysis.truth=maker",
        "analysis.k=[1,5,10]",
    ]  # fmt: skip
    environment = {
        **os.environ,
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{PROJECT}",
        "CTBENCH_OUTPUTS": str(tmp_path / "outputs"),
        "OMP_NUM_THREADS": "1",
    }
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(words), str(PROJECT / "ctbench_ui" / "main.py")],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    result, page = (json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{"))
    for way, metrics in zip(("v_to_t", "t_to_v"), brute_metrics(tmp_path / "case", table, "maker").values()):
        for k in KS:
            assert result[f"{way}_recall_at_{k}"] == pytest.approx(metrics[f"recall_at_{k}"], abs=1e-9)
    assert "same manufacturer" in ended.stdout, "the help of analysis.truth lists it"
    assert page["options"][-1] == "same manufacturer"
    assert "hit: same manufacturer" in page["titles"][0]
    assert page["heads"][0] == "Hit: same manufacturer"
