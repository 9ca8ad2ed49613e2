"""CSV files for people: nothing in them is a formula, Excel reads every letter, and we read names back as written."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ctbench_core.legacy import read_per_run
from ctbench_core.runs import read_result_csv
from ctbench_core.tables import sheet_bytes, unguarded, write_sheet

FORMULAS = [
    "=1+1", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "=HYPERLINK(\"http://127.0.0.2:9\")", "=cmd|'/c calc'!A0",
    "\uff1d1", "-", "-1.2.3", "+٣", "-1 ", "'=1", "''=1",
]  # fmt: skip
PLAIN = ["nodule", "-1.5", "+2e3", "-inf", "'quoted'", "1,5", "a=b", "", "é", "001", "NA"]


def test_no_text_is_a_formula_and_numbers_stay_numbers() -> None:
    frame = pd.DataFrame({"=finding": [*FORMULAS, *PLAIN], "delta": -np.arange(len(FORMULAS + PLAIN), dtype=float)})
    rows = list(csv.reader(io.StringIO(sheet_bytes(frame).decode("utf-8-sig"), newline="")))
    assert rows[0] == ["'=finding", "delta"]
    assert [row[0] for row in rows[1:]] == ["'" + name.replace("\r", "\n") for name in FORMULAS] + PLAIN
    assert [float(row[1]) for row in rows[1:]] == frame["delta"].tolist()


@pytest.mark.parametrize(("name", "has_mark"), [("Erguss", False), ("Verschattung, größer", True)])
def test_a_byte_order_mark_stands_where_a_letter_is_not_ascii(name: str, has_mark: bool) -> None:
    assert sheet_bytes(pd.DataFrame({"finding": [name]})).startswith(b"\xef\xbb\xbf") == has_mark


def test_our_readers_read_names_as_they_were(tmp_path: Path) -> None:
    names = [name for name in [*FORMULAS, *PLAIN] if name and not re.search(r"[\r\n]", name)]
    frame = pd.DataFrame({"finding": names, "auroc": np.linspace(0, 1, len(names))})
    write_sheet(tmp_path / "per_class.csv", frame)
    pd.testing.assert_frame_equal(read_result_csv(tmp_path / "per_class.csv"), frame, check_dtype=False)
    runs = pd.DataFrame({"source": names, "budget_n": 5.0, "test_=é_auprc": 0.5})
    write_sheet(tmp_path / "runs.csv", runs)
    pd.testing.assert_frame_equal(read_per_run(tmp_path / "runs.csv"), runs, check_dtype=False)


def test_duplicate_columns_categories_and_gaps_are_kept() -> None:
    frame = pd.DataFrame([["=a", None, 1], ["b", "@c", 2]], columns=["x", "x", "n"])
    frame["kind"] = pd.Categorical(["-x", "y"])
    read = unguarded(pd.read_csv(io.BytesIO(sheet_bytes(frame)), header=None, dtype=str))
    assert read.fillna("").to_numpy().tolist()[1:] == [["=a", "", "1", "-x"], ["b", "@c", "2", "y"]]
