"""The runs that Evaluate and Compare show: what can be chosen, and the links that carry the choice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import streamlit as st

from ctbench_core.formatting import format_metric
from ctbench_core.runs import VALIDATION
from ctbench_ui.frame import address
from ctbench_ui.shared import as_text, cache, linked_ids

MOST = 6  # a baseline and five others
OFFERED = 200
_RUN, _TEST = "run", "test"  # query parameters


def stored_rows(outputs_root: str) -> dict[str, dict[str, Any]]:
    """Return all runs of a store: rows of `cache.run_row` by run id, newest first, each under a name of its own."""
    return {row["run_id"]: row for row in cache.named(cache.run_rows(outputs_root, None))}


def names_in(folder: Path) -> dict[str, str]:
    """Return the name of each run of a folder of the run store, such as a study's, by run id."""
    rows = stored_rows(str(folder.parent))
    return {run_id: row["name"] for run_id, row in rows.items() if Path(row["run_dir"]).parent == folder}


def has_results(row: dict[str, Any]) -> bool:
    """Whether a run can be evaluated, or holds imported predictions."""
    if row["kind"] == "score":
        return bool(row["tests"])
    return row["kind"] == "train" and (row["best_epoch"] is not None or row["val_auprc"] is not None)


def titles(rows: Mapping[str, Mapping[str, Any]]) -> Callable[[str], str]:
    """Return the function that writes a run as an option of a picker, by its id; an encoder that all have is left out.

    Args:
        rows: rows of `stored_rows` by run id.
    """
    several = len({row["encoder"] for row in rows.values()}) > 1

    def title(run_id: str) -> str:
        row = rows[run_id]
        metric = f"val. AUPRC {format_metric(row['val_auprc'])}"
        own = ["predictions"] if row["kind"] == "score" else [metric, *([row["encoder"]] if several else [])]
        return " · ".join([row["name"], *own])

    return title


def pick_run(rows: Mapping[str, Mapping[str, Any]], linked: str | None) -> str:
    """Draw the choice of a run, at first the newest with test results; the address carries its id, not its title.

    Args:
        rows: rows of `cache.run_row` by run id.
        linked: the id in the address.
    """
    if linked or st.session_state.get(_RUN) not in rows:
        st.session_state[_RUN] = linked or next(
            (run_id for run_id, row in rows.items() if row["tests"]), next(iter(rows))
        )
    address.write_ids(_RUN, [st.session_state[_RUN]])
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        offered = offer(rows, "run.find", [st.session_state[_RUN]])
        return st.selectbox(
            "Run",
            offered,
            key=_RUN,
            persist_state="session",
            format_func=titles(rows),
            on_change=_write_run_link,
            label_visibility="collapsed",
        )


def offer(rows: Mapping[str, Mapping[str, Any]], key: str, chosen: Sequence[str]) -> list[str]:
    """Return the runs to choose from: all of them, or those chosen and the newest that a search field finds.

    A list of 5,000 titles takes seconds to send and draw.
    """
    if len(rows) <= OFFERED:
        return list(rows)
    text = st.text_input(
        "Find runs",
        key=key,
        width=180,
        placeholder="name, encoder, id",
        help=f"The newest {OFFERED} of {len(rows):,} runs are offered. Words of name, encoder and id find others.",
        persist_state="session",
    )
    words = (text or "").casefold().split()
    matching = (
        run_id
        for run_id, row in rows.items()
        if _has_words(f"{row['name']} {row['encoder']} {run_id}".casefold(), words)
    )
    return list(dict.fromkeys([*chosen, *islice(matching, OFFERED)]))


def _has_words(text: str, words: Sequence[str]) -> bool:
    return all(word in text for word in words)


def _write_run_link() -> None:
    address.write_ids(_RUN, [st.session_state[_RUN]])
    address.write_ids(_TEST, [])  # the other run may not have it


def pick_test(
    page: str,
    parameter: str,
    owner: str,
    names: Sequence[str],
    label_visibility: Literal["visible", "collapsed"] = "visible",
) -> str:
    """Draw the choice of a test set, which the address names; one without results ends the page.

    Args:
        owner: the run or runs whose test sets they are: each keeps its own choice.
    """
    key = f"{parameter}-{owner}"
    linked, present = linked_ids.read_id(page, parameter, names), st.session_state.get(key)
    st.session_state[key] = linked or (present if present in names else names[0])
    name = st.segmented_control(
        "Evaluation set",
        names,
        required=True,
        key=key,
        format_func=as_text,
        label_visibility=label_visibility,
        on_change=lambda: address.write_ids(parameter, [st.session_state[key]]),
    )
    if [one for one in names if one != VALIDATION] != [name]:  # the only test needs no name
        address.write_ids(parameter, [str(name)])
    return str(name)


def redraw_if_deleted(run_dirs: Iterable[Path | str]) -> None:
    """Redraw the whole page, which reports it, where a run was deleted since this fragment was drawn."""
    if not all(Path(folder).is_dir() for folder in run_dirs):
        st.rerun(scope="app")
