"""Label maps: the one of CT-RATE and RAD-ChestCT is complete, and files that are no label maps are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ctbench_core.config import LabelsConfig
from ctbench_core.errors import ConfigError, ManifestError
from ctbench_core.manifest import label_map, map_path, read_manifest

CTRATE = """Medical material|Arterial wall calcification|Cardiomegaly|Pericardial effusion|Coronary artery wall calcification|
Hiatal hernia|Lymphadenopathy|Emphysema|Atelectasis|Lung nodule|Lung opacity|Pulmonary fibrotic sequela|Pleural effusion|
Mosaic attenuation pattern|Peribronchial thickening|Consolidation|Bronchiectasis|Interlobular septal thickening"""
RADCHESTCT = """air_trapping airspace_disease aneurysm arthritis aspiration atelectasis atherosclerosis bandlike_or_linear
breast_implant breast_surgery bronchial_wall_thickening bronchiectasis bronchiolectasis bronchiolitis bronchitis cabg
calcification cancer cardiomegaly catheter_or_port cavitation chest_tube clip congestion consolidation
coronary_artery_disease cyst debris deformity density dilation_or_ectasia distention emphysema fibrosis fracture gi_tube
granuloma groundglass hardware heart_failure heart_valve_replacement hemothorax hernia honeycombing infection infiltrate
inflammation interstitial_lung_disease lesion lucency lung_resection lymphadenopathy mass mucous_plugging nodule nodulegr1cm
opacity other_path pacemaker_or_defib pericardial_effusion pericardial_thickening plaque pleural_effusion pleural_thickening
pneumonia pneumonitis pneumothorax postsurgical pulmonary_edema reticulation scarring scattered_calc scattered_nod secretion
septal_thickening soft_tissue staple stent sternotomy suture tracheal_tube transplant tree_in_bud tuberculosis"""
NAME = "@ctrate-to-radchestct"
HEADER = ["finding", "columns", "finding_definition", "columns_definition", "note", "not_mapped"]


@pytest.fixture
def write_map(tmp_path: Path) -> Callable[..., str]:
    def write(*rows: list[str], header: list[str] | None = None) -> str:
        pd.DataFrame(rows, columns=header or HEADER).to_csv(tmp_path / "map.csv", index=False)
        return str(tmp_path / "map.csv")

    return write


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Path]:
    def write(**columns: list[str]) -> Path:
        frame = pd.DataFrame(columns)
        frame.insert(0, "volumename", [f"v_{i}_a_1" for i in range(len(frame))])
        frame.insert(1, "visual_feature_path", "x.npy")
        frame.to_csv(tmp_path / "table.csv", index=False)
        return tmp_path / "table.csv"

    return write


def test_every_finding_and_column_of_the_two_sets_is_mapped_with_definitions_or_has_a_reason() -> None:
    rows = pd.read_csv(map_path(NAME), dtype=str, keep_default_na=False)
    assert list(rows) == HEADER
    findings = CTRATE.replace("\n", "").split("|")
    assert len(findings) == 18 and sorted(rows["finding"][rows["finding"] != ""]) == sorted(findings)
    columns = [name for text in rows["columns"] for name in text.split("|") if name]
    assert len(RADCHESTCT.split()) == 84 and sorted(columns) == sorted(RADCHESTCT.split())  # each exactly once
    pairs = rows[(rows["finding"] != "") & (rows["columns"] != "")]
    assert len(pairs) == 17
    for side in ("finding_definition", "columns_definition"):
        assert (pairs[side].str.len() >= 10).all()
    assert (pairs["not_mapped"] == "").all()
    assert (rows.drop(pairs.index)["not_mapped"].str.len() >= 10).all()
    assert (pairs.loc[pairs["columns"].str.contains("|", regex=False), "note"] != "").all()  # joining is a choice


def test_the_map_is_read_as_its_file_says() -> None:
    read = label_map(NAME)
    assert read.pairs["Lung nodule"] == ("nodule",)
    assert read.pairs["Pulmonary fibrotic sequela"] == ("fibrosis", "scarring")
    assert "Mosaic attenuation pattern" not in read.pairs and "air_trapping" in read.reason(
        "Mosaic attenuation pattern"
    )
    assert read.reason("mass").startswith("Larger than a nodule")
    assert read.findings_of("scarring") == ["Pulmonary fibrotic sequela"] and read.findings_of("mass") == []


def test_a_table_is_read_by_the_map_without_naming_findings(table: Callable[..., Path]) -> None:
    path = table(
        nodule=["1", "0", "", "0"],
        fibrosis=["0", "1", "", "0"],
        scarring=["0", "0", "1", ""],
        mass=["1", "0", "1", "x"],
    )
    manifest = read_manifest(path, rules=LabelsConfig(rename=NAME))
    assert manifest.labels == ["Lung nodule", "Pulmonary fibrotic sequela"]
    np.testing.assert_array_equal(manifest.targets[:, 0], [1, 0, np.nan, 0])
    np.testing.assert_array_equal(manifest.targets[:, 1], [0, 1, 1, np.nan])
    assert manifest.label_mapping["label_map"]["pairs"]["Lung nodule"]["columns"] == ["nodule"]
    assert any("2 findings read by the label map ctrate-to-radchestct" in text for text in manifest.warnings)
    named = read_manifest(path, labels=["Mosaic attenuation pattern", "Lung nodule"], rules=LabelsConfig(rename=NAME))
    assert np.isnan(named.targets[:, 0]).all() and named.targets[0, 1] == 1


def test_a_list_column_is_read_by_a_map(table: Callable[..., Path], write_map: Callable[..., str]) -> None:
    rename = write_map(["Lung nodule", "Mass|Nodule", "a", "b", "", ""], ["", "Hernia", "", "", "", "no such finding"])
    path = table(F=["Mass|Hernia", "No Finding", "Nodule|Mass", "", "Pneumonia"])
    manifest = read_manifest(path, rules=LabelsConfig(list_column="F", rename=rename))
    assert manifest.labels == ["Lung nodule"]
    np.testing.assert_array_equal(manifest.targets[:, 0], [1, 0, 1, np.nan, 0])
    unused = {"Hernia": "no such finding", "Pneumonia": "not in the label map"}
    assert manifest.label_mapping["label_map"]["unused"] == unused
    assert any("also lists Hernia, Pneumonia: not used" in text for text in manifest.warnings)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["A", "a", "x", "", "", ""]], "columns_definition is blank on line 2"),
        ([["A", "a", "x", "y", "", ""], ["B", "", "x", "", "", ""]], "not_mapped is blank on line 3"),
        ([["", "", "", "", "", "why"]], "finding or columns is blank on line 2"),
        ([["A", "a", "x", "y", "", ""], ["A", "b", "x", "y", "", ""]], "finding 'A' has a second row on line 3"),
    ],
)
def test_incomplete_maps_are_refused(write_map: Callable[..., str], rows: list[list[str]], message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        label_map(write_map(*rows))


def test_files_and_names_that_are_no_maps_are_refused(write_map: Callable[..., str]) -> None:
    with pytest.raises(ManifestError, match="is not a label map: it has no column finding_definition"):
        label_map(write_map(["A", "a"], header=["finding", "columns"]))
    for name in ("@absent", "@../published_results", "absent.csv", "@"):
        with pytest.raises(ConfigError, match=r"no such label map\. Known: @ctrate-to-radchestct"):
            label_map(name)
