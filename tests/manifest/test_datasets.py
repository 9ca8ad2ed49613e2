"""Ten public data sets from their raw files to test results, each against pandas alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ctbench_core.declared import DATASETS
from tests.public_datasets import CASES, write_features

QUICK = ["training.max_epochs=2", "model.params.hidden_dims=[4]"]


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that writes the raw files of a data set."""

    def write(name: str) -> Path:
        root = tmp_path / "raw"
        root.mkdir()
        CASES[name].write(root, np.random.default_rng(3))
        return root

    return write


def test_every_data_set_has_its_case() -> None:
    assert list(CASES) == list(DATASETS)


@pytest.mark.parametrize("name", CASES)
def test_raw_files_become_manifests_and_a_test_result(
    name: str, written: Callable[[str], Path], cli: Callable[..., Any], tmp_path: Path
) -> None:
    case, root, folder = CASES[name], written(name), tmp_path / "manifests"
    prepared = cli("prepare", f"dataset={name}", f"root={root}", f"output_file={folder}")
    assert prepared.code == 0, prepared.err
    assert DATASETS[name].licence in prepared.out
    shown = prepared.json["manifests"]
    convention = [text for text in prepared.json["warnings"] if "data.labels" in text or "collapse" in text]
    expected = case.expect(root)
    assert set(shown) == set(expected)
    for file, part in expected.items():
        assert shown[file]["counts"]["volumes"] == part.volumes == len(pd.read_csv(folder / file))
        assert shown[file]["counts"]["patients"] == part.patients
        assert shown[file]["prevalence"] == pytest.approx(part.prevalence)
    for reason, count in case.unmatched.items():
        assert prepared.json["unmatched"][reason] == count
        assert f"{count} {reason}" in prepared.out

    write_features(folder, tmp_path / "features")
    places = [f"paths.manifest_dir={folder}", f"paths.data_root={tmp_path / 'features'}", *case.keys]
    checked = cli("check", *places)
    assert checked.code == 0, checked.err + checked.out
    assert set(convention) <= set(checked.json["warnings"])
    trained = cli("train", *places, *QUICK)
    assert trained.code == 0, trained.err
    run = Path(trained.json["run_dir"])
    mapping = json.loads((run / "provenance.json").read_text())["manifests"]["train"]["label_mapping"]
    assert mapping["dataset"] == name
    ended = cli("evaluate", f"run={run}")
    assert ended.code == 0, ended.err
    (result,) = ended.json["test"].values()
    assert set(result["per_class"]) == set(expected["train.csv"].prevalence)
    if "test.csv" in expected:
        assert {text for text in convention if text.startswith("test.csv")} <= set(result["warnings"])
        test = expected["test.csv"]
        assert (result["n"]["volumes"], result["n"]["patients"]) == (test.volumes, test.patients)
        shares = {finding: values["prevalence"] for finding, values in result["per_class"].items()}
        assert shares == pytest.approx(test.prevalence, nan_ok=True)
