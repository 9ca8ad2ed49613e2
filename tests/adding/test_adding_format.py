"""A feature format is one declaration and the function that it names: everything that reads features then reads it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

PROJECT = Path(__file__).resolve().parents[2]

# A format of somebody: numbers as text.
PARSER = """
import numpy as np

def parse_vec(content, key):
    return np.array(content.split(), dtype=np.float64)
"""

SCRIPT = """
from ctbench_core.declared import FORMATS, FeatureFormat

FORMATS.add(FeatureFormat("vec", "Numbers as text", (".vec",), parse="vec_format:parse_vec"))

import json, sys
from ctbench_core.cli.main import main

for words in json.loads(sys.argv[1]):
    print(json.dumps({"verb": words[0], "code": main([*words, "--json"])}))
"""


def write_data(folder: Path) -> None:
    """Write 60 volumes twice: as .vec files below ``vec``, as .npz files of the same names below ``npz``."""
    generator = np.random.default_rng(0)
    names = [f"train_{i}_a_1" for i in range(60)]
    for kind in ("vec", "npz"):
        (folder / kind).mkdir(parents=True)
    for name, vector in zip(names, generator.normal(size=(60, 5)).astype(np.float32)):
        (folder / "vec" / f"{name}.vec").write_text(" ".join(map(repr, vector.tolist())), encoding="utf-8")
        np.savez(folder / "npz" / f"{name}.npz", vector)
    table = pd.DataFrame({"volumename": names, "visual_feature_path": names})
    table["Mass"] = np.arange(60) % 2
    table[:40].to_csv(folder / "train.csv", index=False)
    table[40:].to_csv(folder / "valid.csv", index=False)


def test_a_registered_format_is_read_as_any_other(tmp_path: Path) -> None:
    write_data(tmp_path)
    (tmp_path / "vec_format.py").write_text(PARSER, encoding="utf-8")
    quick = ["training.max_epochs=2", "model=linear_probe", f"paths.manifest_dir={tmp_path}"]
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "train_0_a_1.vec").write_text("one two", encoding="utf-8")
    calls = [
        ["check", f"paths.data_root={tmp_path / 'vec'}", f"paths.manifest_dir={tmp_path}"],
        ["pack", f"paths.data_root={tmp_path / 'vec'}", f"paths.manifest_dir={tmp_path}"],
        ["train", f"paths.data_root={tmp_path / 'vec'}", *quick],
        ["train", f"paths.data_root={tmp_path / 'npz'}", *quick],
        ["check", f"paths.data_root={bad}", f"paths.manifest_dir={tmp_path}"],
    ]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{PROJECT}", "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(calls)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    answers = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    assert [answer["code"] for answer in answers[1::2]] == [0, 0, 0, 0, 2], ended.stderr
    check, pack, vec, npz, refused = answers[::2]
    assert check["ok"] and pack["files"] == 60 and pack["dim"] == 5
    assert vec["best_val"] == npz["best_val"], "the same numbers in another format train the same head"
    assert "train_0_a_1.vec cannot be read" in str(refused["errors"])
