"""A part of a variance that was cut at 0 is not shown as 0."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ctbench_core.studies import CUT_NOTE, has_cut_parts, without_cut_parts
from ctbench_core.studies.cells import variance_parts
from ctbench_ui.shared import exports
from ctbench_ui.studies import study_tables


def cells(**values: object) -> pd.DataFrame:
    row = {"finding": "", "metric": "auprc", "mean": 0.4, "lo": 0.3, "hi": 0.5, "std": 0.01, "findings": 2}
    row |= {"n": 3, "n_patients": 9, "marks": "", "reason": "", "budget": 20, "patient_error": 0.02, "seed_error": 0.0}
    return pd.DataFrame([row | values])


def text_of(table: pd.DataFrame, name: str) -> str:
    return exports.styled(table[[name]]).hide(axis="index").to_string(delimiter="|").splitlines()[1]


def test_a_cut_part_is_a_dash_with_its_reason() -> None:
    cut = variance_parts(np.array([[0.1, 0.9], [0.9, 0.1]]))  # seeds and folds have the same means
    assert (cut.seed, cut.fold) == (0.0, 0.0)
    frame = cells(patient_error=0.0, fold_variance=cut.fold, seed_variance=cut.seed, rest_variance=cut.rest)
    table = study_tables.overview_table(frame, ["budget"])
    assert [text_of(table, name) for name in ("SE (patients)", "SD (folds)", "SD (seeds)")] == ["–"] * 3
    assert text_of(table, "SE (seeds)") == ".000"  # of seeds that agree to the last digit
    assert CUT_NOTE in study_tables.overview_note(frame)
    assert frame["patient_error"].iloc[0] == 0  # files keep it


def test_a_small_part_is_no_cut_part() -> None:
    frame = cells(patient_error=0.0002)
    assert not has_cut_parts(frame)
    assert study_tables.overview_note(frame) == ""
    pd.testing.assert_frame_equal(without_cut_parts(frame), frame)
    assert text_of(study_tables.overview_table(frame, ["budget"]), "SE (patients)") == "< .001"


def test_bottlenecks_show_no_cut_part_as_0() -> None:
    row = {"encoder": ["e"], "finding": "b", "mean": 0.4, "lo": 0.3, "hi": 0.5, "sd": 0.01, "patient_error": 0.0}
    table = pd.DataFrame(row | {"seed_error": 0.01, "limited_by": "seeds"})
    assert text_of(study_tables.bottleneck_table(table), "SE (patients)") == "–"
