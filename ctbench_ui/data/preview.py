"""What is in a feature file: its arrays with shape and type, and which of them is used."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.config import Config
from ctbench_core.declared import format_of
from ctbench_core.errors import CtbenchError
from ctbench_core.features import StoredArray, check_allowed, find_file, list_arrays, read_vector, shape_text
from ctbench_ui import form
from ctbench_ui.shared import as_text, cache, show_error

_FILES, _SHOWN, _DEPTH = 20, 50, 3
_COLUMNS: dict[str, Any] = {"name": "Array", "shape": "Shape", "type": "Type", "use": "Use"}
_KEY = "data.feature_key"


def draw() -> None:
    """Draw the preview in a box; a closed box reads nothing."""
    with st.expander(
        "Preview a feature file", icon=":material/blur_on:", key="data.box-preview", on_change="rerun"
    ) as box:
        if box.open:
            try:
                config = form.config()
                _draw_file(config, _list_files(config))
            except CtbenchError as error:
                show_error("Feature root", str(error))


def _list_files(config: Config) -> list[Path]:
    """List the file of the first row, then files of the feature root."""
    root = check_allowed(config.paths.data_root)
    if root.is_file():
        return [root]
    levels = ("/".join(["*"] * depth) for depth in range(1, _DEPTH + 1))
    files = (path for level in levels for path in root.glob(level) if format_of(path.name) and path.is_file())
    return list(dict.fromkeys([*_first_of_manifest(config, root), *islice(files, _FILES)]))


def _first_of_manifest(config: Config, root: Path) -> list[Path]:
    try:
        file = find_file(root, cache.manifest_summary(config)["first_visual"])
    except CtbenchError:
        return []  # the check says what is wrong with the manifest
    return [file] if file else []


def _draw_file(config: Config, files: list[Path]) -> None:
    root = Path(config.paths.data_root).expanduser()
    if not files:
        st.caption(f"No feature file in {as_text(root)}.")
        return
    names = {
        str(path.relative_to(root)) if path.is_relative_to(root) and path != root else path.name: path for path in files
    }
    chosen = st.selectbox("Feature file", list(names), key="preview.file", label_visibility="collapsed")
    path = names[chosen]
    with st.container(gap="small"):
        try:
            arrays = list_arrays(path)
        except CtbenchError as error:
            show_error("Feature file", str(error))
            return
        _draw_arrays(arrays, config)
        st.caption(_vector_text(path, config))
        _offer_arrays(arrays, config)


def _draw_arrays(arrays: list[StoredArray], config: Config) -> None:
    rows = [
        {
            "name": array.name or "(no name)",
            "shape": shape_text(array.shape),
            "type": array.dtype,
            "use": _use(array, config),
        }
        for array in arrays[:_SHOWN]
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=_COLUMNS, alt="Arrays of the feature file")
    if len(arrays) > _SHOWN:
        st.caption(f"… and {len(arrays) - _SHOWN:,} more.")


def _use(array: StoredArray, config: Config) -> str:
    if array.name and array.name == config.data.feature_key:
        return "chosen"
    return "may be the vector" if array.may_be_vector else "not a vector"


def _vector_text(path: Path, config: Config) -> str:
    """Say which vector is read from the file with the present settings."""
    try:
        return f"Read as a vector of {len(read_vector(path, config.data.feature_key, config.data.pool)):,} dimensions."
    except CtbenchError as error:
        return as_text(str(error).removeprefix(str(path)).strip().capitalize())


def _offer_arrays(arrays: list[StoredArray], config: Config) -> None:
    """Offer the arrays that may be the vector, where there are several."""
    offered = [
        array for array in arrays if array.may_be_vector and array.name and array.name != config.data.feature_key
    ]
    if len(offered) + bool(config.data.feature_key) < 2:
        return
    with st.container(horizontal=True, gap="small"):
        for array in offered[:4]:
            values = {_KEY: array.name}
            st.button(
                f"Use {as_text(array.name)}", key=f"preview-{array.name}", on_click=form.set_fields, args=(values,)
            )
