"""The first rows of the training manifest with what each column is taken for, and a field that changes it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.config import KEYS, ColumnsConfig, Config, LabelsConfig, set_key
from ctbench_core.dataset import manifest_path
from ctbench_core.errors import CtbenchError
from ctbench_core.manifest import column_roles
from ctbench_core.tables import read_table
from ctbench_ui import form
from ctbench_ui.shared import as_text, cache

VALUES = "data.labels.values"
MEANINGS: dict[str, Any] = {"positive": 1, "negative": 0, "unknown": "unknown"}
FINDINGS, METADATA = "data.columns.labels", "data.columns.metadata"
_NAMED = ("training.target_labels", FINDINGS)  # name the findings, the first before the second
_TITLES = {
    ("volume",): "Volume",
    ("volume", "visual"): "Volume and feature file",
    ("patient",): "Patient",
    ("exam",): "Exam",
    ("visual",): "Visual feature file",
    ("text",): "Text feature file",
    ("split",): "Split",
    ("finding",): "Finding",
    ("list",): "List of findings",
    ("metadata",): "Metadata",
}
_KEYS = {
    "volume": "data.columns.volume",
    "patient": "data.columns.patient",
    "exam": "data.columns.exam",
    "visual": "data.columns.visual_feature",
    "text": "data.columns.text_feature",
    "split": "data.columns.split",
    "list": "data.labels.list_column",
}
_ROWS, _COLUMNS = 4, 18  # shown at first


def draw(expanded: bool) -> None:
    """Draw the mapper in a box; while it is closed, or the table cannot be read, it costs no time."""
    st.session_state.setdefault("data.box-mapper", expanded)
    with st.expander(
        "Columns and first rows", icon=":material/table:", key="data.box-mapper", on_change="rerun"
    ) as box:
        if box.open:
            try:
                config = form.config()
                path = manifest_path(config, config.data.train_manifest)
                rows, roles = _read(path, config)
            except CtbenchError:
                st.caption("The training manifest cannot be read yet.")
                return
            _draw_rows(rows, roles)
            _draw_roles(path, roles)


def _read(path: Path, config: Config) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    parts = (config.data.columns, config.data.labels)
    columns, rules = (json.dumps(dataclasses.asdict(part)) for part in parts)
    return _roles(path, columns, rules, tuple(config.training.target_labels or ()))


@cache.per_file(max_entries=16)
def _roles(
    path: Path, columns: str, rules: str, named: tuple[str, ...]
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    config = Config()
    config.data.columns = ColumnsConfig(**json.loads(columns))
    config.data.labels = LabelsConfig(**json.loads(rules))
    set_key(config, "training.target_labels", list(named) or None)
    frame, _ = read_table(path)
    return frame.head(_ROWS).to_dict("list"), column_roles(path, frame, config)


def _title(roles: Sequence[str]) -> str:
    return _TITLES.get(tuple(roles)) or (", ".join(_TITLES[(role,)] for role in roles) or "Not used")


def _draw_rows(rows: Mapping[str, list[str]], roles: Mapping[str, list[str]]) -> None:
    config = {name: st.column_config.TextColumn(f"{name} → {_title(roles[name]).lower()}") for name in rows}
    st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=config, alt="First rows of the training manifest")


def _draw_roles(path: Path, roles: Mapping[str, list[str]]) -> None:
    """Draw one field a column, those that are no findings first, in rows whose fields stand level."""
    names = sorted(roles, key=lambda name: roles[name] == ["finding"])
    more = len(names) > _COLUMNS and not st.toggle(f"All {len(names)} columns", key="mapper.all")
    for place, name in enumerate(names[:_COLUMNS] if more else names):
        if place % 3 == 0:
            fields = st.columns(3, vertical_alignment="bottom")
        title = _title(roles[name])
        options = list(dict.fromkeys([title, *_TITLES.values()]))
        key = (
            f"role-{path.stem}-{name}-{title}"  # the key of a role that another field changed must not keep the old one
        )
        with fields[place % 3]:
            st.selectbox(as_text(name), options, key=key, on_change=_change, args=(name, dict(roles), key))


def _change(name: str, roles: Mapping[str, list[str]], key: str) -> None:
    """Take a column for what its field says, and no longer for what it was.

    A browser may report a field that is drawn again as changed, to the value that it has.
    """
    if st.session_state[key] == _title(roles[name]):
        return
    chosen = next((own for own, title in _TITLES.items() if title == st.session_state[key]), ())
    state, values = st.session_state, dict[str, Any]()
    for role in set(roles[name]) - set(chosen):
        if role in _KEYS and state.get(_KEYS[role]) == name:
            values[_KEYS[role]] = KEYS[_KEYS[role]].default
    values |= {_KEYS[role]: name for role in chosen if role in _KEYS}
    metadata = [column for column in state.get(METADATA) or [] if column != name]
    values[METADATA] = [*metadata, name] if chosen == ("metadata",) else metadata
    named = next((key for key in _NAMED if state.get(key)), FINDINGS)
    findings = [column for column, own in roles.items() if own == ["finding"] and column != name]
    if chosen == ("finding",):
        values[named] = [*findings, name]
    elif state.get(named):
        values[named] = findings
    form.set_fields(values)
