"""Contrast of charts and theme as WCAG 2 computes it: 3:1 for lines and marks, 4.5:1 for text, in both themes."""

from __future__ import annotations

import re
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ctbench_core.palette import COLOURS, GREY
from ctbench_ui.data.plots import co_occurrence
from ctbench_ui.shared import exports, style
from ctbench_ui.shared.style import SEQUENCE, STATES
from ctbench_ui.studies.study_charts import heat_map, parallel

PROJECT = Path(__file__).resolve().parents[1]
THEME = tomllib.loads((PROJECT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))["theme"]
THEMES = ("light", "dark")
TEXT, MARKS = 4.5, 3.0
PINNED = 0.6  # opacity of a pinned column, by Streamlit
EMPTY = "waiting"  # a run of a study that has not begun is an empty cell


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(first: str, second: str) -> float:
    darker, lighter = sorted((_luminance(first), _luminance(second)))
    return (lighter + 0.05) / (darker + 0.05)


def _over(colour: str, ground: str, opacity: float) -> str:
    pairs = [(int(colour[at : at + 2], 16), int(ground[at : at + 2], 16)) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(top * opacity + below * (1 - opacity)):02X}" for top, below in pairs)


def _grounds(theme: dict[str, Any]) -> set[str]:
    return {
        part[name] for part in (theme, theme["sidebar"]) for name in ("backgroundColor", "secondaryBackgroundColor")
    }


def test_the_formula_is_that_of_wcag() -> None:
    assert _contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert _contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("name", THEMES)
def test_colours_of_charts_are_clear_on_the_page(name: str) -> None:
    states = {style.colour for state, style in STATES.items() if state != EMPTY}
    for colour in {*COLOURS, GREY, *states, THEME[name]["primaryColor"]}:
        assert _contrast(colour, THEME[name]["backgroundColor"]) >= MARKS, colour


@pytest.mark.parametrize("name", THEMES)
def test_text_is_clear_on_every_ground(name: str) -> None:
    theme = THEME[name]
    style = (PROJECT / "ctbench_ui" / "frame" / "page_style.py").read_text(encoding="utf-8")
    faint = float(re.search(r"stCaptionContainer\][^{]*\{opacity: ([.\d]+)\}", style)[1])
    for ground in _grounds(theme):
        assert _contrast(_over(theme["textColor"], ground, faint), ground) >= TEXT, ground  # a caption
        assert _contrast(theme["codeTextColor"], ground) >= TEXT, ground
        assert _contrast(theme["grayTextColor"], ground) >= TEXT, ground
    assert _contrast(theme["grayTextColor"], theme["grayBackgroundColor"]) >= TEXT  # a gray badge
    assert _contrast("#FFFFFF", theme["primaryColor"]) >= TEXT  # a primary button
    assert _contrast(theme.get("linkColor", theme["primaryColor"]), theme["backgroundColor"]) >= TEXT


@pytest.mark.parametrize("name", THEMES)
def test_a_column_that_stays_in_sight_is_clear(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "is_dark", lambda: name == "dark")
    table = exports.styled(pd.DataFrame({"finding": ["Mass"], "auprc": [0.5]}), pinned="finding")
    ((_, ink),) = table._compute().ctx[0, 0]
    assert not table.ctx[0, 1]
    ground = THEME[name]["backgroundColor"]
    assert _contrast(_over(ink, ground, PINNED), ground) >= TEXT


def test_every_pinned_column_of_text_has_the_clearest_ink() -> None:
    for path in (PROJECT / "ctbench_ui").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        names = re.findall(r'"(\w+)": [\w.]+\([^\n]*pinned=True', text)
        assert all(name == "star" or f'pinned="{name}"' in text for name in names), path.name


def test_the_primary_colour_is_no_text() -> None:
    """On the dark page it has 3.9:1, and what Streamlit makes of it for a pressed button 1.4:1."""
    style = (PROJECT / "ctbench_ui" / "frame" / "page_style.py").read_text(encoding="utf-8")
    plain = [rule for rule in style.split("}") if "{color: inherit !important" in rule]
    for written in (
        "[role=tab]:is([aria-selected=true], :hover)",
        "stSliderThumbValue",
        "button[kind=tertiary]:enabled",
    ):
        assert any(written in rule for rule in plain), written


def test_no_code_is_highlighted() -> None:
    """Comments and options in Streamlit's colours have 2.7:1 to 3.6:1."""
    for path in (PROJECT / "ctbench_ui").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert text.count("st.code(") == len(re.findall(r"st\.code\([^\n]*language=None", text)), path.name


def test_the_app_and_its_theme_have_the_same_colours() -> None:
    assert tuple(THEME["chartCategoricalColors"]) == COLOURS
    assert tuple(THEME["chartSequentialColors"]) == SEQUENCE


@pytest.mark.parametrize("dark", [False, True])
def test_numbers_in_a_heat_map_are_clear_on_every_cell(dark: bool) -> None:
    values = pd.DataFrame([[step / 100 for step in range(101)]], index=["Mass"], columns=map(str, range(101)))
    chart = heat_map(values, values > 1, "auprc", dark)
    for layer in chart.data:
        scale = [(float(at), str(colour)) for at, colour in layer.colorscale]
        for value in layer.z[0][~np.isnan(layer.z[0])]:
            (low, first), (high, second) = next(pair for pair in pairwise(scale) if pair[0][0] <= value <= pair[1][0])
            cell = _over(second, first, (value - low) / (high - low))
            ink = "#" + "".join(2 * part for part in layer.textfont.color[1:])
            assert _contrast(ink, cell) >= TEXT, value


@pytest.mark.parametrize("name", THEMES)
def test_high_values_stand_out_from_the_page(name: str) -> None:
    page, dark = THEME[name]["backgroundColor"], name == "dark"
    values = pd.DataFrame({"a": [0.1, 0.9]}, index=["Mass", "Nodule"])
    trials = pd.DataFrame({"value": [0.1, 0.9], "seed": [1, 2]})
    scales = [heat_map(values, values > 1, "auprc", dark).data[0].colorscale]
    scales += [parallel(trials, ["seed"], dark).data[0].line.colorscale]
    scales += [co_occurrence(pd.DataFrame([[4, 1], [1, 2]], list("ab"), list("ab")), dark).data[0].colorscale]
    for low, *_, high in scales:
        assert _contrast(high[1], page) >= MARKS > _contrast(low[1], page)
        assert not dark or _contrast(high[1], "#FFFFFF") > 2  # a blue, not white
