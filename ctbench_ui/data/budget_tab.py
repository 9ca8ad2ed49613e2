"""The tab that writes label budgets and folds as manifests, for tools that read files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.config import KEYS, Config
from ctbench_core.formatting import plural
from ctbench_core.legacy import MANIFEST_INDEX, SELECTION_INDEX, write_budget_files
from ctbench_ui import form
from ctbench_ui.shared import as_text, exports, show_errors, show_hint, show_warnings, text_field

_PREFIX, _WRITTEN = "budget-files.", "budget-files.written"
_EXPECTED = "whole numbers separated by commas, such as 20, 50"
_UNITS = KEYS["data.budget_unit"].choices or ()


def draw() -> None:
    """Draw the tab."""
    left, right = st.columns([2, 3], gap="large")
    with left:
        _draw_fields()
        start = st.button("Write manifests", type="primary", icon=":material/save:", key="write-budgets")
    with right:
        if start:
            _write()
        if _WRITTEN in st.session_state:
            _draw_written(st.session_state[_WRITTEN])
        else:
            _draw_waiting()


def _draw_fields() -> None:
    keep: dict[str, Any] = {"persist_state": "session"}
    text_field(
        _PREFIX + "budgets",
        "Budgets",
        "Training and validation units together, such as 20, 50, all.",
        default="20, 50, 100",
    )
    text_field(
        _PREFIX + "seeds", "Seeds", "One draw of patients per seed. The budgets of a seed are nested.", default="42"
    )
    st.segmented_control(
        "Budget unit", _UNITS, default=_UNITS[0], required=True, key=_PREFIX + "unit", help="Unit of a budget.", **keep
    )
    st.number_input("Folds", 0, 50, key=_PREFIX + "folds", help="K of a patient-grouped K-fold. 0: no folds.", **keep)
    text_field(
        _PREFIX + "selection",
        "Selection file",
        "The selection_index.csv of another label source: the same volumes are drawn.",
        "…/selection_index.csv",
    )
    text_field(_PREFIX + "prefix", "File name prefix", "Start of the file names.", "the training manifest's name")
    text_field(_PREFIX + "folder", "Output folder", "Created if missing.", "budget_splits in the manifest folder")


def _value(name: str) -> str:
    return str(st.session_state.get(_PREFIX + name) or "").strip()


def _read_fields() -> tuple[Config, Path]:
    """Return the config of the data with this tab's draw, and the folder to write to."""
    config = form.config()
    config.data.budget_unit = st.session_state[_PREFIX + "unit"]
    config.data.kfold.folds = int(st.session_state[_PREFIX + "folds"]) or None
    config.data.selection = _value("selection") or None
    return config, Path(_value("folder") or Path(config.paths.manifest_dir) / "budget_splits")


def _write() -> None:
    st.session_state.pop(_WRITTEN, None)
    with show_errors("The manifests cannot be written"):
        config, folder = _read_fields()
        budgets = form.parse_list("Budgets", _value("budgets"), _read_budget, _EXPECTED)
        seeds = form.parse_list("Seeds", _value("seeds"), int, _EXPECTED)
        index, warnings = write_budget_files(config, budgets, seeds, folder, _value("prefix") or None)
        st.session_state[_WRITTEN] = {"folder": str(folder), "index": index, "warnings": warnings}


def _read_budget(text: str) -> int | None:
    return None if text == "all" else int(text)


def _draw_waiting() -> None:
    show_hint(
        "Label budgets as files",
        "Writes a training and a validation manifest for every budget, seed and fold of the chosen data set, with "
        "an index, for tools that read files. **Train** and **Studies** need no such files: they take budgets and "
        "folds as settings.",
    )


def _draw_written(written: dict[str, Any]) -> None:
    index: pd.DataFrame = written["index"]
    selection = Path(written["folder"]) / SELECTION_INDEX
    st.success(f"{plural(len(index), 'training manifest')} with validation rows", icon=":material/check:")
    st.caption(f"In {as_text(written['folder'])}, with {MANIFEST_INDEX}.")
    show_warnings(written["warnings"])
    headings = _headings(index)
    st.dataframe(index, hide_index=True, column_order=list(headings), column_config=headings, alt="Manifests written")
    with st.container(horizontal=True):
        exports.download("Download index as CSV", index, MANIFEST_INDEX, "budget-index")
        if selection.is_file() and st.button(
            "Reuse for another source",
            icon=":material/content_copy:",
            key="budget-same",
            help="Sets *Selection file* to these volumes. Then choose the other source's manifests on *Data set*.",
            on_click=_use_selection,
            args=(selection,),
        ):
            st.toast("Choose the other source's manifests on *Data set*, then write again.", icon=":material/database:")


def _headings(index: pd.DataFrame) -> dict[str, str]:
    """Return the columns of the index that the screen shows, with their headings; test columns only where folds have them."""
    sides = {"train": "Training", "val": "Validation"} | ({"test": "Test"} if index["test_rows"].any() else {})
    titles = {"fold": "Fold", "budget": "Budget", "seed": "Seed", "sample_unit": "Unit"}
    titles |= {"effective_budget": f"{index['sample_unit'].iloc[0].capitalize()}s"}
    titles |= {f"{side}_rows": f"{title} rows" for side, title in sides.items()}
    titles |= {f"{side}_manifest": f"{title} manifest" for side, title in sides.items()}
    return {name: title for name, title in titles.items() if name in index}


def _use_selection(path: Path) -> None:
    st.session_state[_PREFIX + "selection"] = str(path)
    st.session_state[_PREFIX + "folder"] = ""
