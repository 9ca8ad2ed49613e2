"""Controls for what keeps a manifest from being read: a column of another name, a label value without a meaning."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from ctbench_core.config import KEYS, ColumnsConfig, Config, LabelsConfig
from ctbench_core.dataset import list_test_sets, manifest_path
from ctbench_core.errors import CtbenchError, first_rows
from ctbench_core.formatting import plural
from ctbench_core.manifest import column_guesses, configured_findings, find_columns, label_problems
from ctbench_ui import form
from ctbench_ui.shared import as_text, cache, show_error

UNCERTAIN, VALUES = "data.labels.uncertain", "data.labels.values"
COLUMNS_BOX, LABELS_BOX = "data.box-columns", "data.box-label"
METADATA, FINDINGS = "data.columns.metadata", "data.columns.labels"
MEANINGS: dict[str, Any] = {"positive": 1, "negative": 0, "unknown": "unknown"}
_OFFERED, _SHOWN = 4, 5  # columns as buttons; problems and values of one problem


@dataclasses.dataclass(frozen=True)
class Obstacles:
    """What a manifest needs mapped: the config key of each missing column with its candidates, and label problems."""

    path: Path
    columns: dict[str, list[str]]
    problems: list[dict[str, Any]]

    @property
    def mappable(self) -> bool:
        """Whether there is something to map, and a column that may be meant for each that is missing."""
        return bool(self.columns or self.problems) and all(self.columns.values())


def find_obstacles(path: Path, config: Config) -> Obstacles:
    """Return what the settings do not map of a manifest.

    Raises:
        ManifestError: the table cannot be read, or lacks a column that a setting names.
    """
    data = config.data
    names, guesses = cache.column_names(path), column_guesses(path)
    missing = {}
    if find_columns(path, names, data.columns).volume is None:
        missing[guesses["volume"].key] = guesses["volume"].candidates
    if data.columns.visual_feature not in names:
        missing[guesses["visual"].key] = guesses["visual"].candidates
    columns, rules = (json.dumps(dataclasses.asdict(part)) for part in (data.columns, data.labels))
    return Obstacles(path, missing, _problems(path, columns, tuple(configured_findings(config) or ()), rules))


@cache.per_file(max_entries=32)
def _problems(path: Path, columns: str, labels: tuple[str, ...], rules: str) -> list[dict[str, Any]]:
    settings = ColumnsConfig(**json.loads(columns)), labels, LabelsConfig(**json.loads(rules))
    return [dataclasses.asdict(problem) for problem in label_problems(path, *settings)]


def draw() -> None:
    """Draw the controls of every chosen manifest that needs some; what a file lacks otherwise, the check says."""
    drawn: set[str] = set()  # a column is mapped for every manifest at once
    for obstacles in _list_obstacles():
        columns = {key: candidates for key, candidates in obstacles.columns.items() if key not in drawn}
        if columns or obstacles.problems:
            drawn |= set(columns)
            with st.container(border=True, gap="small", key=f"mapping-{obstacles.path.stem}"):
                for key, candidates in columns.items():
                    _draw_column(obstacles.path, key, candidates)
                for problem in obstacles.problems[:_SHOWN]:
                    _draw_problem(obstacles.path, problem)
                if (more := len(obstacles.problems) - _SHOWN) > 0:
                    st.caption(f"… and {plural(more, 'more column')}.")


def _list_obstacles() -> Iterator[Obstacles]:
    try:
        config = form.config()
        names = dict.fromkeys([config.data.train_manifest, config.data.val_manifest, *list_test_sets(config)])
    except CtbenchError:
        return
    for path in (manifest_path(config, name) for name in names):
        try:
            yield find_obstacles(path, config)
        except CtbenchError:
            continue


def _draw_column(path: Path, key: str, candidates: Sequence[str]) -> None:
    """Offer the columns that may be meant, one click each, and every column to choose from."""
    label, names = KEYS[key].label, cache.column_names(path)
    expected = form.config().data.columns.visual_feature if key.endswith("visual_feature") else "volumename"
    show_error(f"{as_text(path.name)} has no column {as_text(expected)}", f"Choose the {label.lower()} below.")
    offered = [name for name in candidates if name in names][:_OFFERED]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        for place, name in enumerate(offered):
            st.button(
                f"Use {as_text(name)}",
                key=f"map-{path.stem}-{key}-{name}",
                type="secondary" if place else "primary",
                icon=":material/check:",
                on_click=_use,
                args=({key: name},),
            )
        choice = f"map-{path.stem}-{key}"
        st.selectbox(
            label,
            names,
            index=None,
            key=choice,
            placeholder="Another column",
            on_change=_use_column,
            args=(key, choice),
        )


def _use_column(key: str, choice: str) -> None:
    if name := st.session_state[choice]:
        _use({key: name})


def _use(values: dict[str, Any]) -> None:
    """Set fields, and open their box, where they can be changed again."""
    form.set_fields(values)
    st.session_state[COLUMNS_BOX if next(iter(values)).startswith("data.columns.") else LABELS_BOX] = True


def _draw_problem(path: Path, problem: dict[str, Any]) -> None:
    """Say which values of a column are no labels and where, and offer what they may mean."""
    column, values = problem["column"], problem["values"]
    counted = ", ".join(f"{value!r} ({plural(count, 'cell')})" for value, count in list(values.items())[:_SHOWN])
    show_error(
        f"{as_text(path.name)}: {as_text(column)} has values that are no labels",
        f"{counted} on line {first_rows(problem['lines'])}; expected 0, 1 or blank.\n"
        "Correct the file, or say what the values mean.",
    )
    prefix = f"map-{path.stem}-{column}"
    if problem["kind"] == "uncertain":
        _draw_meaning(f"{prefix}-uncertain", "Uncertain labels", {UNCERTAIN: {name: name for name in MEANINGS}})
    else:
        for value in list(values)[:_SHOWN]:
            _draw_meaning(f"{prefix}-{value}", f"{as_text(value)} means", {VALUES: _with_value(value)})
    st.button(
        "Not a finding",
        key=f"{prefix}-metadata",
        type="tertiary",
        icon=":material/label_off:",
        help="Makes the column metadata.",
        on_click=_make_metadata,
        args=(column,),
    )


def _with_value(value: str) -> dict[str, Any]:
    """Return the label values with a further one, by its meaning."""
    known = st.session_state.get(VALUES) or {}
    return {name: known | {value: meaning} for name, meaning in MEANINGS.items()}


def _draw_meaning(prefix: str, title: str, fields: dict[str, dict[str, Any]]) -> None:
    """Offer the meanings of a value, one click each.

    Args:
        fields: for the config key that is set, its value by meaning.
    """
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(title, width="content")
        for name in MEANINGS:
            values = {key: choices[name] for key, choices in fields.items()}
            st.button(name.capitalize(), key=f"{prefix}-{name}", on_click=_use, args=(values,))


def _make_metadata(column: str) -> None:
    findings = [name for name in st.session_state.get(FINDINGS) or [] if name != column]
    form.set_fields({METADATA: [*(st.session_state.get(METADATA) or []), column], FINDINGS: findings})
