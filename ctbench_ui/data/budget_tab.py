"""The tab that writes label budgets and folds as manifests, for tools that read files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.config import KEYS, Config
from ctbench_core.errors import ConfigError
from ctbench_core.formatting import plural
from ctbench_core.legacy.budget_files import INDEX, SELECTIONS, write_budget_files
from ctbench_ui import form
from ctbench_ui.shared import feedback, tables

_PREFIX, _WRITTEN = "budget-files.", "budget-files.written"
_UNITS = KEYS["data.budget_unit"].choices or ()


def draw() -> None:
    """Draw the tab."""
    left, right = st.columns([2, 3], gap="large")
    with left:
        _fields()
        asked = st.button("Write manifests", type="primary", icon=":material/save:", key="write-budgets")
    with right:
        if asked:
            _write()
        if _WRITTEN in st.session_state:
            _show(st.session_state[_WRITTEN])
        else:
            _waiting()


def _fields() -> None:
    _text("budgets", "Budgets", "20, 50, 100", "Training and validation units together, such as 20, 50, all.")
    _text("seeds", "Seeds", "42", "One draw of patients a seed; budgets of one seed are nested.")
    keep: dict[str, Any] = {"persist_state": "session"}
    st.segmented_control(
        "Counted in",
        _UNITS,
        default=_UNITS[0],
        required=True,
        key=_PREFIX + "unit",
        help="What a budget counts.",
        **keep,
    )
    st.number_input("Folds", 0, 50, key=_PREFIX + "folds", help="K of a patient-grouped K-fold; 0: none.", **keep)
    _text(
        "selection",
        "Same volumes as",
        "",
        "A selection_index.csv: the volumes that another source drew.",
        "…/selection_index.csv",
    )
    _text("prefix", "Names begin with", "", "What the files are called.", "the training manifest's name")
    _text("folder", "Folder to write to", "", "Made where it is not there.", "budget_splits in the manifest folder")


def _text(name: str, label: str, default: str, help: str, placeholder: str = "") -> None:
    st.session_state.setdefault(_PREFIX + name, default)
    st.text_input(label, key=_PREFIX + name, help=help, placeholder=placeholder, persist_state="session")


def _value(name: str) -> str:
    return str(st.session_state.get(_PREFIX + name) or "").strip()


def _asked() -> tuple[Config, Path]:
    """Return the config of the data chosen, with this tab's draw, and the folder to write to."""
    config = form.config()
    config.data.budget_unit = st.session_state[_PREFIX + "unit"]
    config.data.kfold.folds = int(st.session_state[_PREFIX + "folds"]) or None
    config.data.selection = _value("selection") or None
    return config, Path(_value("folder") or Path(config.paths.manifest_dir) / "budget_splits")


def _write() -> None:
    st.session_state.pop(_WRITTEN, None)
    with feedback.guarded("The manifests cannot be written"):
        config, folder = _asked()
        budgets, seeds = _numbers("Budgets", _value("budgets")), _numbers("Seeds", _value("seeds"))
        whole = [seed for seed in seeds if seed is not None]
        index, warnings = write_budget_files(config, budgets, whole, folder, _value("prefix") or None)
        st.session_state[_WRITTEN] = {"folder": str(folder), "index": index, "warnings": warnings}


def _numbers(label: str, text: str) -> list[int | None]:
    """Read whole numbers with commas between; ``all`` is None."""
    parts = text.replace(";", ",").replace(" ", ",").split(",")
    try:
        return [None if part == "all" else int(part) for part in parts if part]
    except ValueError:
        raise ConfigError(
            f"{label} are {text!r}; expected whole numbers with commas between, such as 20, 50."
        ) from None


def _waiting() -> None:
    with st.container(border=True):
        st.subheader("Label budgets as files", anchor=False)
        st.markdown(
            "A manifest of training and one of validation rows for every budget, seed and fold, drawn from the data "
            "set that is chosen, with an index. For tools that read files: **Train** takes a budget and folds by "
            "themselves, **Studies** whole grids of them."
        )


def _show(written: dict[str, Any]) -> None:
    index: pd.DataFrame = written["index"]
    folder = Path(written["folder"])
    st.success(f"{plural(len(index), 'training manifest')} with their validation rows", icon=":material/check:")
    st.caption(f"In `{folder}`, with {INDEX}.")
    feedback.caution("Good to know", written["warnings"])
    st.dataframe(index, hide_index=True, alt="Manifests written")
    with st.container(horizontal=True):
        tables.download("Index (CSV)", index, INDEX, "budget-index")
        if (folder / SELECTIONS).is_file() and st.button(
            "Draw the same for another source",
            icon=":material/content_copy:",
            key="budget-same",
            help="Takes these volumes as the choice; then choose the other source's manifests on Data set.",
            on_click=_take_selection,
            args=(folder / SELECTIONS,),
        ):
            st.toast("Choose the other source's manifests on Data set, and write again.", icon=":material/database:")


def _take_selection(path: Path) -> None:
    st.session_state[_PREFIX + "selection"] = str(path)
    st.session_state[_PREFIX + "folder"] = ""
