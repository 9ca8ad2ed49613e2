"""Write a run store by the release in a folder, for `test_old_stores.py`.

    python tests/write_store.py TREE NAME      writes tests/data/store-NAME.zip with the code in TREE

Features, manifests, predictions and the study are those of the first store; all paths in it are relative.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"
INPUTS = ("features/", "manifests/", "predictions.csv", "study.yaml")
PATHS = ("paths.data_root=features", "paths.manifest_dir=manifests", "paths.outputs_root=outputs")
SMALL = ("training.batch_size=16", "training.learning_rate=0.01", "training.max_epochs=4")
MLP = "model.params.hidden_dims=[8]"
TESTED = "evaluation.after_training=true"
RUNS = (
    (MLP, "utils.seed=1", TESTED),
    (MLP, "utils.seed=2", TESTED),
    ("model=logistic", TESTED),
    ("model=linear_probe",),
)
ANNOTATE = "from sys import argv; from pathlib import Path; from ctbench_core.runs import annotate; annotate(Path(argv[1]), pinned=True, tags=['paper'])"


def write_store(tree: Path, name: str) -> Path:
    """Run the verbs of a tree in an empty folder, and zip the folder with what they printed."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with zipfile.ZipFile(DATA / "store-0.1.0.zip") as archive:
            archive.extractall(folder, [item for item in archive.namelist() if item.startswith(INPUTS)])

        def python(*words: str) -> str:
            environment = {**os.environ, "PYTHONPATH": str(tree.resolve())}
            command = [sys.executable, *words]
            return subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, check=True
            ).stdout

        def run(*words: str) -> dict[str, Any]:
            printed = python("-m", "ctbench_core", *words, "--json").splitlines()
            content: dict[str, Any] = json.loads(printed[-1])
            return content

        trained = [run("train", *PATHS, *SMALL, *words) for words in RUNS]
        first, second, logistic, _ = (one["run_dir"] for one in trained)
        python("-c", ANNOTATE, first)
        datasets = folder / "outputs" / ".datasets"
        datasets.mkdir()
        (datasets / "small.yaml").write_text("paths.data_root: features\npaths.manifest_dir: manifests\n")
        expected = {
            "train": trained,
            "compare": run("compare", first, logistic),
            "recipes": run("compare", first, second, logistic, "by=recipe"),
            "score": run("score", "predictions.csv", "name=a table", PATHS[2]),
            "study": run("study", "study.yaml"),
            "align": run("align", *PATHS, "data.train_manifest=test.csv", "analysis.k=[1,5]"),
        }
        (folder / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True), encoding="utf-8")
        shutil.rmtree(folder / "outputs" / ".packed", ignore_errors=True)
        return Path(shutil.make_archive(str(DATA / f"store-{name}"), "zip", folder))


if __name__ == "__main__":
    print(write_store(Path(sys.argv[1]), sys.argv[2]))
