"""Malformed tables: each works, or its message names the file, the line and the fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from ctbench_core.errors import ManifestError
from ctbench_core.manifest import read_manifest
from ctbench_core.tables import read_table

HEADER = "volumename,visual_feature_path,A,B\n"


def read(tmp_path: Path, text: str) -> list[list[str]]:
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode("utf-8"))
    return read_table(path)[0].to_numpy().tolist()


@pytest.mark.parametrize(
    "text",
    [
        '\ufeff"a","b, c"\n"1","x, y"\n',
        'a;"b, c"\n1;"x, y"\n',
        'a\t"b, c"\r\n1\t"x, y"\r\n',
        '\n\na,"b, c"\n,\n1,"x, y"\n\n , \n',
        'a,"b, c"\r1,"x, y"',
    ],
    ids=["bom", "semicolons beside quoted commas", "tabs", "blank lines", "old Mac"],
)
def test_habits_of_spreadsheets_make_no_difference(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == [["1", "x, y"]]


def test_quotes_keep_separators_lines_and_quotes(tmp_path: Path) -> None:
    assert read(tmp_path, 'a,b\n1,"two\nlines, and ""quotes"""\n') == [["1", 'two\nlines, and "quotes"']]


def test_a_long_report_is_one_value(tmp_path: Path) -> None:
    assert len(read(tmp_path, f"a,b\n1,{'x' * 200_000}\n")[0][1]) == 200_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            HEADER + "x,p,1,0\ny,p,1\nz,p\n",
            r"table.csv cannot be parsed: .*line 3 has 3 values.*on line 3, 4 \(2 rows\): add or remove",
        ),
        (
            HEADER + "x,p,1,0,\n",
            r"table.csv cannot be parsed: line 1 names 4 columns, but line 2 has 5 values.*on line 2 \(1 row\)",
        ),
        (HEADER + 'x,p,1,0\n"y,p,1,0\nz,p,1,0\n', r"row that begins on line 3.*Close its quotes"),
        (HEADER + 'x,"p"q,1,0\n', r"begins on line 2.*double a quote inside a quoted value"),
        ("volumename,A, A ,B\nx,1,0,1\n", r"duplicate column 'A'. Rename or remove"),
        ("a\n1\n", r"no column 'volumename', 'visual_feature_path'.*Its columns are: a.*Rename the column"),
        (HEADER + 'x,"p\nq",1,0\n\ny,p,positive,0\n', r"'A' has 'positive' on line 5 \(1 row\)"),
    ],
    ids=["short rows", "long row", "open quote", "stray quote", "duplicate column", "missing column", "text label"],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ManifestError, match=message):
        read_manifest(path, labels=["A", "B"] if text.startswith(HEADER) else None)


def test_blank_labels_are_unknown(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(HEADER + "train_1_a_1,p,,0\ntrain_2_a_1,p,NaN,1\ntrain_3_a_1,p,1, \n", encoding="utf-8")
    manifest = read_manifest(path)
    assert manifest.prevalence() == {"A": 1.0, "B": 0.5}


def test_columns_of_scanner_metadata_are_no_findings(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("volumename,visual_feature_path,A,SamplesPerPixel,RescaleSlope\ntrain_1_a_1,p,0,1,1\n")
    assert read_manifest(path).labels == ["A"]
