"""What the values of label columns mean, and that no finding vanishes without a word."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ctbench_core.config import ColumnsConfig, Config, LabelsConfig, set_key
from ctbench_core.errors import ConfigError, ManifestError
from ctbench_core.manifest import Manifest, configured_findings, label_problems, read_configured, read_manifest

UNKNOWN = "unknown"


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Path]:
    """Return a writer of a manifest with the given columns."""

    def write(name: str = "train.csv", **columns: list[Any]) -> Path:
        rows = len(next(iter(columns.values())))
        ids = {"volumename": [f"train_{i}_a_1" for i in range(rows)], "visual_feature_path": ["p.npz"] * rows}
        pd.DataFrame(ids | columns).to_csv(tmp_path / name, index=False)
        return tmp_path / name

    return write


def labels_of(manifest: Manifest, name: str) -> list[Any]:
    column = manifest.targets[:, manifest.labels.index(name)]
    return [UNKNOWN if np.isnan(value) else int(value) for value in column]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "0", ""], [1, 0, UNKNOWN]),
        (["1.0", "0.00", "nan"], [1, 0, UNKNOWN]),
        (["True", "FALSE", "NA"], [1, 0, UNKNOWN]),
        (["01", "+0", "None"], [1, 0, UNKNOWN]),
        ([" 1 ", "-0.0", "null"], [1, 0, UNKNOWN]),
    ],
)
def test_spellings_of_labels(table: Callable[..., Path], values: list[str], expected: list[Any]) -> None:
    manifest = read_manifest(table(A=values))
    assert manifest.labels == ["A"]
    assert labels_of(manifest, "A") == expected
    assert manifest.label_mapping == {} and manifest.warnings == []


@pytest.mark.parametrize(("others", "total"), [(1, 5), (2, 10), (4, 20)])
def test_four_fifths_of_labels_make_a_label_column(table: Callable[..., Path], others: int, total: int) -> None:
    """The share is of the filled cells, and the uncertain ones count as labels."""
    values = ["x"] * others + ["1", "0"] * total
    mostly = [*values[: total - 1], "x", "", "", ""]
    below = read_manifest(table(A=mostly, B=["1"] * len(mostly)))
    assert below.labels == ["B"]
    enough = [*values[:total], "", "", ""]
    with pytest.raises(ManifestError, match=rf"label column 'A' has 'x' on line 2.*\({others} row"):
        read_manifest(table(A=enough, B=["1"] * len(enough)))
    uncertain = ["-1"] * total + ["u", "Uncertain", "-1.0"]
    with pytest.raises(ManifestError, match=r"'A' has '-1', 'u', 'Uncertain'.*data.labels.uncertain=unknown, negative"):
        read_manifest(table(A=uncertain, B=["1"] * len(uncertain)))


def test_named_findings_raise_it_for_no_other_column(table: Callable[..., Path]) -> None:
    path = table(A=["1", "0", "1", "0", "1", "2"], B=["1"] * 6)
    assert read_manifest(path, labels=["B"]).labels == ["B"]
    assert read_manifest(path, ColumnsConfig(labels=["B"])).labels == ["B"]
    assert read_manifest(path, ColumnsConfig(metadata=["A"])).labels == ["B"]
    for labels in (["A"], ["B", "A"], None):
        with pytest.raises(ManifestError, match=r"'A' has '2' on line 7 \(1 row\).*data.labels.values={2: unknown}"):
            read_manifest(path, labels=labels)


def test_every_label_column_at_fault_is_named(table: Callable[..., Path]) -> None:
    path = table(**{name: ["1", "0", "1", "0", "?"] for name in "ABCDEFG"})
    with pytest.raises(ManifestError, match=r"label columns 'A', .*'E', \.\.\. \(7 columns\) have '\?' on line 6"):
        read_manifest(path)
    assert [problem.column for problem in label_problems(path)] == list("ABCDEFG")


@pytest.mark.parametrize(("meaning", "expected"), [("unknown", UNKNOWN), ("positive", 1), ("negative", 0)])
def test_uncertain_labels_are_mapped_and_said(table: Callable[..., Path], meaning: Any, expected: Any) -> None:
    path = table(A=["1", "0", "-1", "u", "-1.0"], B=["1", "0", "1", "0", "-1"], C=["1"] * 5)
    manifest = read_manifest(path, rules=LabelsConfig(uncertain=meaning))
    assert labels_of(manifest, "A") == [1, 0, expected, expected, expected]
    assert manifest.labels == ["A", "B", "C"]
    assert manifest.label_mapping == {
        "values": {
            "-1": {"meaning": meaning, "cells": {"A": 1, "B": 1}},
            "u": {"meaning": meaning, "cells": {"A": 1}},
            "-1.0": {"meaning": meaning, "cells": {"A": 1}},
        }
    }
    assert f"train.csv: -1 is read as {meaning} in 2 cells (A 1, B 1), by data.labels." in manifest.warnings


def test_blank_labels_can_mean_negative(table: Callable[..., Path]) -> None:
    manifest = read_manifest(table(A=["1", "", "NaN"], B=["1", "0", "1"]), rules=LabelsConfig(blank="negative"))
    assert labels_of(manifest, "A") == [1, 0, 0]
    assert manifest.label_mapping["values"][""] == {"meaning": "negative", "cells": {"A": 1}}
    assert any("blank is read as negative in 1 cell (A 1)" in text for text in manifest.warnings)


def test_further_texts_are_mapped(table: Callable[..., Path]) -> None:
    path = table(A=["yes", "No", "Censored", "1", "2"], B=["YES", "yes", "no", "no", "no"])
    rules = LabelsConfig(values={"yes": 1, "no": 0, "Censored": "unknown", 2: "positive"})
    manifest = read_manifest(path, rules=rules)
    assert labels_of(manifest, "A") == [1, 0, UNKNOWN, 1, 1]
    assert labels_of(manifest, "B") == [1, 1, 0, 0, 0]
    assert manifest.label_mapping["values"]["Censored"] == {"meaning": "unknown", "cells": {"A": 1}}
    assert manifest.label_mapping["values"]["no"] == {"meaning": "negative", "cells": {"B": 3}}
    own = read_manifest(table(A=["0", "1", "none"]), rules=LabelsConfig(values={"1": 0, "0": "1", "none": 0}))
    assert labels_of(own, "A") == [1, 0, 0]
    with pytest.raises(ConfigError, match=r"data.labels.values maps 'yes' to 'often'; expected 0, 1 or unknown"):
        read_manifest(path, rules=LabelsConfig(values={"yes": "often"}))


def test_findings_get_other_names(table: Callable[..., Path]) -> None:
    path = table(Nodule=["1", "0"], Effusion=["0", "1"], Mass=["1", ""])
    rules = LabelsConfig(rename={"Nodule": "Lung nodule", "Effusion": "Pleural effusion", "absent": "Mass"})
    manifest = read_manifest(path, rules=rules)
    assert manifest.labels == ["Lung nodule", "Pleural effusion", "Mass"]
    assert labels_of(manifest, "Pleural effusion") == [0, 1]
    assert manifest.label_mapping == {"rename": {"Nodule": "Lung nodule", "Effusion": "Pleural effusion"}}
    named = read_manifest(path, labels=["Pleural effusion", "Mass"], rules=rules)
    assert (labels_of(named, "Pleural effusion"), labels_of(named, "Mass")) == ([0, 1], [1, UNKNOWN])
    assert "Nodule" in named.metadata_columns and "Effusion" not in named.metadata_columns
    with pytest.raises(ManifestError, match="duplicate label 'Mass'"):
        read_manifest(path, rules=LabelsConfig(rename={"Nodule": "Mass"}))


def test_only_some_findings_are_kept(table: Callable[..., Path]) -> None:
    path, rules = table(A=["1", "0"], B=["0", "1"], C=["1", "x"]), LabelsConfig(only=["B"])
    assert read_manifest(path, rules=rules).labels == ["B"]
    judged = read_manifest(path, labels=["A", "B", "absent"], rules=rules)  # as a run that was trained on these
    assert judged.labels == ["A", "B", "absent"]
    assert np.isnan(judged.targets[:, [0, 2]]).all() and labels_of(judged, "B") == [0, 1]
    config = Config()
    assert configured_findings(config) is None
    config.training.target_labels = ["A", "B"]
    assert configured_findings(config) == ["A", "B"]
    config.data.labels.only = ["B"]
    assert configured_findings(config) == ["B"]
    assert read_configured(path, config).labels == ["B"]


def test_one_column_can_list_the_findings(table: Callable[..., Path]) -> None:
    path = table(F=["Mass|Effusion", "No Finding", "", " Effusion ", "Nodule|Mass"], other=["1", "0", "1", "0", "1"])
    rules = LabelsConfig(list_column="F", rename={"Mass": "Lung mass"})
    manifest = read_manifest(path, rules=rules)
    assert manifest.labels == ["Effusion", "Lung mass", "Nodule"]
    assert labels_of(manifest, "Lung mass") == [1, 0, UNKNOWN, 0, 1]
    assert labels_of(manifest, "Effusion") == [1, 0, UNKNOWN, 1, 0]
    assert manifest.metadata_columns == ["other"]
    assert any("lists in column 'F' of train.csv. Findings: Effusion, Lung mass, Nodule." in n for n in manifest.notes)
    rules.blank = "negative"
    named = read_manifest(path, labels=["Nodule", "Fibrosis"], rules=rules)
    assert (labels_of(named, "Nodule"), labels_of(named, "Fibrosis")) == ([0, 0, 0, 0, 1], [0] * 5)
    assert any("also lists Effusion, Lung mass: not used" in text for text in named.warnings)
    assert any("never lists Fibrosis: negative in every row" in text for text in named.warnings)
    assert named.label_mapping["list_column"] == "F"
    rules.only = ["Effusion"]
    assert read_manifest(path, rules=rules).labels == ["Effusion"]
    semicolons = table(F=["Mass;Effusion", "No finding"])
    assert read_manifest(semicolons, rules=LabelsConfig(list_column="F", separator=";")).labels == ["Effusion", "Mass"]
    with pytest.raises(ManifestError, match=r"'No Finding' beside a finding on line 3 \(1 row\)"):
        read_manifest(table(F=["Mass", "No Finding|Mass"]), rules=LabelsConfig(list_column="F"))
    with pytest.raises(ManifestError, match=r"no column 'G'.*data.labels.list_column"):
        read_manifest(path, rules=LabelsConfig(list_column="G"))


def test_problems_are_told_for_controls(table: Callable[..., Path]) -> None:
    path = table(A=["1", "0", "2", "0", "1", "2", "x"] + ["1"] * 8, B=["1", "-1", "u"] * 5, C=["1"] * 15, D=["z"] * 15)
    first, second = label_problems(path)
    assert (first.column, first.values, first.lines, first.kind) == ("A", {"2": 2, "x": 1}, [4, 7, 8], "text")
    assert (second.column, second.values, second.kind) == ("B", {"-1": 5, "u": 5}, "uncertain")
    assert second.lines == [line for line in range(2, 17) if line % 3 != 2]
    assert label_problems(path, rules=LabelsConfig(uncertain="unknown", values={"2": 1, "x": UNKNOWN})) == []
    assert [problem.column for problem in label_problems(path, labels=["B", "D", "absent"])] == ["B", "D"]
    assert label_problems(path, ColumnsConfig(metadata=["A", "B"])) == []


def test_random_columns_against_a_plain_reading(table: Callable[..., Path]) -> None:
    """A cell by cell reading of the rules in a few lines of Python is the judge."""
    rng = random.Random(4)
    for _ in range(60):
        uncertain = rng.choice(["error", "unknown", "positive", "negative"])
        blank = rng.choice(["unknown", "negative"])
        meaning = {"1": 1, "1.0": 1, "true": 1, "0": 0, "False": 0, "": 0 if blank == "negative" else UNKNOWN}
        if uncertain != "error":
            meaning |= dict.fromkeys(["-1", "u"], {"positive": 1, "negative": 0}.get(uncertain, UNKNOWN))
        texts = ["1", "0", "1.0", "true", "False", "", "-1", "u", "x"]
        weights = [8, 8, 2, 2, 2, rng.randint(0, 9), rng.randint(0, 1), rng.randint(0, 1), rng.choice([0, 0, 1])]
        values = ["1", *rng.choices(texts, weights, k=40)]
        filled = [text for text in values if text]
        share = sum(text != "x" for text in filled) / len(filled)
        faulty = [text for text in filled if text not in meaning]
        path = table(A=values, B=["1"] * 41)
        rules = LabelsConfig(uncertain=uncertain, blank=blank)  # type: ignore[arg-type]
        if share >= 0.8 and faulty:
            with pytest.raises(ManifestError, match=r"label column 'A'"):
                read_manifest(path, rules=rules)
        else:
            manifest = read_manifest(path, rules=rules)
            assert ("A" in manifest.labels) == (share == 1)
            if share == 1:
                assert labels_of(manifest, "A") == [meaning[text] for text in values]


def test_the_rules_reach_check_and_train(cli: Any, table: Callable[..., Path], tmp_path: Path) -> None:
    for name in ("train.csv", "valid.csv"):
        table(name, Zebra=["1", "0", "-1", "0", "1"], B=["1", "0", "1", "0", "1"])
    np.save(tmp_path / "p.npy", np.ones(4, np.float32))
    places = [f"paths.data_root={tmp_path}", f"paths.manifest_dir={tmp_path}", f"paths.outputs_root={tmp_path / 'out'}"]
    refused = cli("check", *places)
    assert refused.code == 2 and "'Zebra' has '-1' on line 4" in " ".join(refused.json["errors"])
    mapped = cli("check", *places, "data.labels.uncertain=positive")
    assert mapped.json["prevalence"]["train"]["Zebra"] == pytest.approx(0.6)
    assert any("-1 is read as positive" in text and "Zebra" in text for text in mapped.json["warnings"])


def test_rules_are_config_keys() -> None:
    config = Config()
    set_key(config, "data.labels.values", {"yes": 1})
    set_key(config, "data.labels.only", ["A"])
    assert (config.data.labels.values, config.data.labels.only) == ({"yes": 1}, ["A"])
