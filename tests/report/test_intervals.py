"""A range over two seeds is never headed as an interval."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ctbench_core.inference import MARK_NEAR_END, TWO_SEEDS
from ctbench_core.report import difference_text, estimate_text, interval_texts, interval_title, mark_text

NAN = np.nan
INTERVAL = {"lo": 0.8, "hi": 0.9, "range_lo": 0.82, "range_hi": 0.88, "reason": None}
TWO = INTERVAL | {"lo": NAN, "hi": NAN, "reason": TWO_SEEDS}
FEW = TWO | {"reason": "too few patients"}
NOTHING = FEW | {"range_lo": NAN, "range_hi": NAN}


@pytest.mark.parametrize(
    ("rows", "title", "of_difference"),
    [
        ([INTERVAL], "95 % CI", "Difference [95 % CI]"),
        ([INTERVAL, NOTHING], "95 % CI", "Difference [95 % CI]"),
        ([NOTHING], "95 % CI", "Difference [95 % CI]"),
        ([TWO, TWO], "Range of 2 seeds", "Difference (range of 2 seeds)"),
        ([TWO, NOTHING], "Range of 2 seeds", "Difference (range of 2 seeds)"),
        ([TWO, FEW], "Range over repeats", "Difference (range over repeats)"),
        ([INTERVAL, TWO], "95 % CI or range", "Difference [95 % CI] or (range)"),
    ],
)
def test_the_heading_says_what_is_below_it(rows: list[dict[str, float]], title: str, of_difference: str) -> None:
    frame = pd.DataFrame(rows)
    assert interval_title(frame) == title
    assert interval_title(frame, "Difference") == of_difference


def test_a_range_is_marked_in_every_row() -> None:
    frame = pd.DataFrame([INTERVAL, TWO, NOTHING])
    assert interval_texts(frame) == ["[.800, .900]", "range .820 to .880", ""]
    assert interval_texts(frame[["lo", "hi"]]) == ["[.800, .900]", "", ""]
    assert difference_text(0.85, (NAN, NAN), (0.82, 0.88)) == ".850 (range .820 to .880)"
    assert difference_text(0.85, (0.8, 0.9), (0.82, 0.88)) == ".850 [.800, .900]"
    assert difference_text(0.85, (NAN, NAN), (NAN, NAN)) == ".850"


def test_an_estimate_says_why_it_has_no_interval() -> None:
    assert estimate_text(0.85, (0.8, 0.9), (NAN, NAN), None) == ".850 [.800, .900]"
    assert estimate_text(0.85, (NAN, NAN), (0.82, 0.88), TWO_SEEDS) == ".850 (range .820 to .880)"
    assert estimate_text(0.85, (NAN, NAN), (NAN, NAN), "too few patients") == ".850 (too few patients)"


@pytest.mark.parametrize(
    ("mark", "text"),
    [
        ("", ""),
        (MARK_NEAR_END, "near 1: the 95 % CI may cover only 93 %"),
        (f"AUROC: {MARK_NEAR_END}", "AUROC near 1: the 95 % CI may cover only 93 %"),
        (f"few patients; {MARK_NEAR_END}", "few patients; near 1: the 95 % CI may cover only 93 %"),
    ],
)
def test_a_stored_mark_is_written_in_full(mark: str, text: str) -> None:
    assert mark_text(mark) == text
