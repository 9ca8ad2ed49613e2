"""The table of runs: the best epoch of each, a small validation curve, and its test results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import streamlit as st

from ctbench_core.declared import METRICS, averaged_metrics
from ctbench_core.errors import InputError, RunError
from ctbench_core.formatting import format_interval
from ctbench_core.palette import COLOURS, GREY
from ctbench_core.query import Field
from ctbench_core.runs import SCORES_ONLY, Ledger, best_order, open_run, run_fields, set_id_of
from ctbench_ui.frame import address
from ctbench_ui.shared import controls
from ctbench_ui.shared.style import (
    STATES,
    duration,
    error_texts,
    image_address,
    line_sample,
    metric_column,
    metric_texts,
    test_marks,
)

_STAR = "★"
_ROW, _HEADING = 35, 38  # heights of a row, and of the heading with the frame, in pixels
_LETTER, _PADDING, _WIDEST = 7, 20, 260  # widths of a letter, of a cell's padding, and of a name, in pixels
_NARROW, _NARROW_LETTER = frozenset(" ·.,:;-|'!ijlrtf"), 4
_text, _number = st.column_config.TextColumn, st.column_config.NumberColumn

# In the order of the table: how good a run is, which, and how it ended; on a phone the first two are in sight.
COLUMNS: dict[str, Any] = {
    "star": _text(_STAR, width=28, pinned=True, help="Starred on the run's card."),  # pinned: it keeps its width
    "auprc": metric_column("Val. AUPRC", help="Macro mean over findings at the best epoch, on validation."),
    "name": _text("Run"),
    "test": _text(
        "Test AUPRC [95 % CI]",
        help="On each evaluated test set. ⚠: shares patients with training. ⟳: stale, the run has a better epoch now; "
        "evaluate it again. No interval yet: a run of a study; Evaluate computes it. No CI: the run's card says why.",
    ),
    "bar": st.column_config.ImageColumn(
        "Test AUPRC", width=92, help="Value and interval on the first evaluated test set, from 0 to 1."
    ),
    "trace": st.column_config.LineChartColumn("Trend", width=76, help="Validation AUPRC by epoch."),
    "state": st.column_config.MultiselectColumn(
        "State", options=list(STATES), color=[style.badge for style in STATES.values()], width=90
    ),
    "when": st.column_config.DatetimeColumn("Created", format="distance", width=136),
    "convergence": _text(
        "Convergence",
        help="Not converged: a linear probe that validation AUPRC shows more than .01 below the optimum of its own loss.",
    ),
    "head": _text("Head"),
    "set": _text(
        "Val. set",
        help="Its file, and what chose it where several sets share the file. Only runs of one set are ranked against each "
        "other.",
    ),
    "study": _text("Study", help="The study or search that the run belongs to."),
    "encoder": _text("Encoder"),
    "inputs": _text("Inputs"),
    "budget": _number("Budget", format="localized", help="Label budget, in the run's unit. Blank: all."),
    "volumes": _number("Volumes", format="localized", help="Training volumes."),
    "seed": _number("Seed", format="%d"),
    "best": _number("Best epoch", format="%d"),
    **{metric.name: metric_column(f"Val. {metric.short}") for metric in averaged_metrics() if metric.name != "auprc"},
    "time": _text("Time"),
    "tags": st.column_config.ListColumn("Tags", width=96),
    "notes": _text("Notes"),
}
_FIRST = (
    "star",
    "auprc",
    "name",
    "test",
    "trace",
    "state",
    "when",
    "convergence",
    "head",
    "set",
    "study",
    "encoder",
    "budget",
    "volumes",
    "best",
    "tags",
)
# Those of `_FIRST` that a panel beside the table leaves room for: a card, which has the rest, or curves.
_BESIDE = ("star", "auprc", "name", "test", "state")
_TEST_BESIDE = COLUMNS["test"] | {"label": "Test AUPRC"}  # its title is wider than its texts
_BRIEF = ("star", "auprc", "name", "test", "bar", "convergence", "encoder", "budget", "when")
_BESIDE_CURVES = 216  # pixels of a name at least: what follows it is whole or off the edge at a width of 1280
_DAY = st.column_config.DatetimeColumn("Created", format="D MMM", width=68)  # a narrow table has no room for more
_LINE = st.column_config.ImageColumn("Line", width=44, help="Colour and dash of the run's curves.")
_FITTED = ("name", "set", "study")  # columns as wide as the longest of their texts
_ONLY_IF_ANY = ("star", "study", "budget", "convergence", "set", "bar", "test", "tags", "notes")


def height_of(rows: int) -> int:
    """Return the height of the table with its heading, in pixels."""
    return _HEADING + _ROW * rows


def where_several(names: Sequence[str]) -> list[str]:
    """Return the names of validation sets; empty where all that have one have the same."""
    return list(names) if len(set(names) - {""}) > 1 else [""] * len(names)


def best_first(frame: pd.DataFrame) -> pd.DataFrame:
    """Return runs by validation AUPRC, best first within each validation set, the set of most runs first.

    Validation metrics of different volumes or labels do not rank runs.

    Returns:
        The rows with a column ``set``: the name of their validation set; empty where all have the same.
    """
    cells = (frame[name].tolist() for name in ("validation_set", "created", "val_auprc"))
    return frame.assign(set=where_several(frame["validation_name"].tolist())).iloc[best_order(*cells)]


def column_titles() -> dict[str, str]:
    """Return the titles of all columns by name: those of `COLUMNS`, then every other field of the run table."""
    covered = {field.name for name in COLUMNS if (field := run_fields().find(name))}
    titles = {name: str(column["label"]) for name, column in COLUMNS.items()}
    return titles | {name: field.title for name, field in run_fields().items() if name not in covered}


def pick_columns() -> list[str]:
    """Draw the choice of columns; return it in the order of the table."""
    titles = column_titles()
    with st.popover("Columns", icon=":material/view_column:"):
        chosen = st.multiselect(
            "Columns of the table",
            list(titles),
            default=controls.default_of("runs.columns", list(_FIRST)),
            format_func=titles.__getitem__,
            help="Any metric or config key.",
            persist_state="session",
            **address.bound("runs.columns", titles, titles.__getitem__),
        )
        st.caption(
            "Some columns are hidden while they are empty, or beside a card. For those without room, scroll the table "
            "sideways."
        )
    return [name for name in titles if name in chosen]


def select_runs(
    rows: Sequence[Mapping[str, Any]],
    key: str,
    sets: Sequence[str],
    columns: Sequence[str],
    chosen: Sequence[str] = (),
    height: Literal["auto", "stretch"] = "auto",
    is_beside: bool = False,
    places: Mapping[str, int] | None = None,
) -> list[str]:
    """Draw the table; return the run ids of the selected rows.

    Args:
        rows: of `cache.run_row`, in the order to show.
        sets: the name of the validation set of each.
        columns: names in `column_titles`.
        chosen: run ids that are selected at first.
        is_beside: whether a panel is beside the table: of the columns that are shown at first it then has a few.
        places: those of lines in `line_style` by run id; a column shows them, and names leave out what all have.
    """
    ids = [row["run_id"] for row in rows]
    if is_beside and set(columns) == set(_FIRST):
        columns = _BESIDE[1:] if places else _BESIDE
    own, others = [name for name in columns if name in COLUMNS], [name for name in columns if name not in COLUMNS]
    table = table_of(pd.DataFrame(rows).assign(set=list(sets)), own)
    table = _with_texts(table)
    for name in others:
        table[name] = _field_cells(rows, run_fields()[name])
    if places:
        from ctbench_core.compare import differing_parts

        table["name"] = differing_parts(list(table["name"]))  # beside curves whole names would be cut at what differs
        table.insert(0, "line", [line_sample(places[run_id]) if run_id in places else "" for run_id in ids])
    positions = _positions(ids, chosen)
    config = (
        COLUMNS
        | {"line": _LINE}
        | ({"test": _TEST_BESIDE} if is_beside else {})
        | {name: _field_column(run_fields()[name]) for name in others}
    )
    fitted = (*_FITTED, "test") if is_beside else _FITTED
    config |= fit_columns(config, table, fitted)
    if places and "name" in table:
        config["name"] |= {"width": max(config["name"]["width"], _BESIDE_CURVES)}
    alt = "Runs and their metrics"
    selected = controls.select_rows(
        _without_empty(table), ids, key, config, alt, positions, height=height, by_cell=True
    )
    return [ids[row] for row in selected]


def runs_selected(rows: Sequence[Mapping[str, Any]], key: str, chosen: Sequence[str] = ()) -> list[str]:
    """Return what `select_runs` will return, before it draws the table."""
    ids = [row["run_id"] for row in rows]
    return [ids[row] for row in controls.rows_selected(ids, key, _positions(ids, chosen))]


def _positions(ids: Sequence[str], chosen: Sequence[str]) -> list[int]:
    return [ids.index(run_id) for run_id in chosen if run_id in ids]


def fit_columns(columns: Mapping[str, Any], table: pd.DataFrame, names: Iterable[str]) -> dict[str, Any]:
    """Return those columns of a table that are named, each as wide as the longest of its texts."""
    return {name: columns[name] | {"width": width_of(table[name])} for name in names if name in table}


def width_of(texts: Iterable[str]) -> int:
    """Return the width of a column as wide as the longest of its texts: by itself it has that of the first ones."""
    return min(_WIDEST, _PADDING + max(map(_width_of_text, texts), default=0))


def _width_of_text(text: str) -> int:
    return sum(_NARROW_LETTER if letter in _NARROW else _LETTER for letter in text)


def _field_cells(rows: Sequence[Mapping[str, Any]], field: Field) -> list[Any]:
    if field.kind == "text":
        return [", ".join(map(str, field.read(row))) for row in rows]
    values = [field.value(row) for row in rows]
    if _is_metric(field):
        return metric_texts(values)
    return list(pd.to_datetime(values, format="ISO8601", errors="coerce")) if field.kind == "time" else values


def _field_column(field: Field) -> Any:
    if _is_metric(field):
        return metric_column(field.title, help=field.help)
    if field.kind == "number":
        return _number(field.title, help=field.help)
    kinds: dict[str, Callable[..., Any]] = {
        "flag": st.column_config.CheckboxColumn,
        "time": st.column_config.DatetimeColumn,
    }
    return kinds.get(field.kind, _text)(field.title, help=field.help)


def _is_metric(field: Field) -> bool:
    return field.kind == "number" and field.name.startswith(("val ", "test "))


def _with_texts(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of `table_of` with its metrics as texts."""
    return table.assign(**{name: metric_texts(table[name]) for name in table if name in METRICS})


def with_val_texts(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with its columns ``val_...`` as texts: metrics, and standard deviations with as many digits."""
    names = [str(name) for name in table if str(name).startswith("val_")]
    return table.assign(
        **{name: error_texts(table[name]) if name.endswith("_sd") else metric_texts(table[name]) for name in names}
    )


def select_brief(frame: pd.DataFrame, key: str, most: int) -> list[str]:
    """Draw a few columns of some runs; return the run ids of the selected rows.

    Args:
        most: the largest height of the table, in pixels.
    """
    ids, table = frame["run_id"].tolist(), _with_texts(_without_empty(table_of(frame, _BRIEF)))
    if len(ids) > 1 and table["encoder"].nunique() == 1:
        table = table.drop(columns="encoder")  # what all rows have in common leaves room for what differs
    height: Literal["auto"] | int = "auto" if height_of(len(ids)) < most else most
    columns = COLUMNS | {"when": _DAY}
    return [ids[row] for row in controls.select_rows(table, ids, key, columns, "Best runs", height=height)]


def _without_empty(table: pd.DataFrame) -> pd.DataFrame:
    """Leave out optional columns without a value."""
    return table.drop(
        columns=[name for name in _ONLY_IF_ANY if name in table and not table[name].map(_is_filled).any()]
    )


def _is_filled(value: Any) -> bool:
    return bool(len(value)) if hasattr(value, "__len__") else not pd.isna(value)


def table_of(frame: pd.DataFrame, columns: Sequence[str] = tuple(COLUMNS)) -> pd.DataFrame:
    """Return some columns of the table from rows of `cache.run_row`."""
    values = {
        name: _VALUES[name](frame)
        if name in _VALUES
        else frame[f"val_{name}"].astype(float)
        if name in METRICS
        else frame[name]
        for name in columns
    }
    return pd.DataFrame(values, index=frame.index)


# How columns are made from rows of `cache.run_row`; the others are as in the rows.
_VALUES: dict[str, Callable[[pd.DataFrame], Any]] = {
    "star": lambda frame: [_STAR if pinned else "" for pinned in frame["pinned"]],
    "state": lambda frame: [[state] for state in frame["state"]],
    "volumes": lambda frame: frame["volumes"].astype("Int64"),
    "budget": lambda frame: frame["budget"].astype("Int64"),
    "best": lambda frame: frame["best_epoch"].astype("Int64"),
    "test": lambda frame: list(
        map(
            _tests,
            frame["tests"],
            frame["test_intervals"],
            frame["test_no_interval"],
            frame["leaks"],
            frame["stale"],
        )
    ),
    "bar": lambda frame: list(map(_bar, frame["tests"], frame["test_intervals"])),
    "time": lambda frame: ["" if pd.isna(seconds) else duration(seconds) for seconds in frame["seconds"]],
    "when": lambda frame: pd.to_datetime(frame["created"], format="ISO8601", errors="coerce"),
}


def _bar(tests: Mapping[str, float | None], intervals: Mapping[str, Any]) -> str:
    """Return a small image of the first test's AUPRC between 0 and 1, with its interval; empty without one."""
    name = next(iter(tests), "")
    value = tests.get(name)
    if value is None:
        return ""
    lower, upper = (intervals.get(name) or [None, None])[:2]
    whisker = ""
    if lower is not None and upper is not None:
        whisker = f"<path d='M{lower * 100:.1f} 10H{upper * 100:.1f}' stroke='{COLOURS[0]}' stroke-width='4'/>"
    track = f"<path d='M0 10H100' stroke='{GREY}' stroke-opacity='.4'/>"
    dot = f"<circle cx='{value * 100:.1f}' cy='10' r='4' fill='{COLOURS[0]}'/>"
    image = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='-5 0 110 20' width='110' height='20'>{track}{whisker}{dot}</svg>"
    return image_address(image)


def _tests(
    tests: Mapping[str, float | None],
    intervals: Mapping[str, Any],
    no_interval: Mapping[str, str],
    leaks: Mapping[str, int],
    stale: Sequence[str],
) -> str:
    parts = []
    for name, value in tests.items():
        mark = test_marks(leaks.get(name), name in stale)
        which = f"{name} " if len(tests) > 1 else ""
        reason = no_interval.get(name)
        short = f" ({'no interval yet' if reason == SCORES_ONLY else 'no CI'})" if reason and value is not None else ""
        parts.append(f"{which}{format_interval(value, intervals.get(name))}{short}{mark}")
    return " · ".join(parts)


def export_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows as a table of plain values with every digit, and columns for each test set."""
    plain = frame.drop(columns=["set", "own_name"], errors="ignore").drop(
        columns=[
            "kind",
            "is_named",
            "model_name",
            "settings",
            "tests",
            "test_intervals",
            "test_no_interval",
            "test_metrics",
            "leaks",
            "stale",
            "alignments",
            "trace",
            "recipe",
            "changed",
            "validation_file",
            "validation_number",
        ]
    )
    plain["tags"] = plain["tags"].map(";".join)
    for name in sorted({name for tests in frame["tests"] for name in tests}):
        bounds = [intervals.get(name) or [None, None] for intervals in frame["test_intervals"]]
        plain[f"{name}_auprc"] = [tests.get(name) for tests in frame["tests"]]
        plain[f"{name}_auprc_ci_lower"] = [lower for lower, _ in bounds]
        plain[f"{name}_auprc_ci_upper"] = [upper for _, upper in bounds]
        plain[f"{name}_shared_patients"] = [leaks.get(name) for leaks in frame["leaks"]]
        plain[f"{name}_stale"] = [name in stale for stale in frame["stale"]]
        plain[f"{name}_openings"] = _openings(frame["run_dir"], name)
    return plain


def _openings(run_dirs: pd.Series, test: str) -> list[int | None]:
    """Return how often each run's test set of a name was evaluated in the run store; None where that is unknown."""
    sets = [_set_of(folder, test) for folder in run_dirs]
    counted = {
        (root, one): Ledger(root).count([one] if one else [], test) for root, one in {known for known in sets if known}
    }
    return [None if known is None or counted[known].damage else counted[known].openings for known in sets]


def _set_of(folder: str, test: str) -> tuple[Path, str | None] | None:
    """Return the store of a run and the identity of its test set; None where its files cannot be read, or are gone."""
    try:
        run = open_run(folder)
        return run.store, set_id_of(run, test)
    except (InputError, RunError):
        return None
