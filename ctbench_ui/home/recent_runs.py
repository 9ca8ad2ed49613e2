"""Recent activity on Home: the runs that ended since the last visit."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import streamlit as st

from ctbench_core.atomic import write_json
from ctbench_core.errors import DamagedFile
from ctbench_core.formatting import format_metric
from ctbench_core.runs import ENDED, RESUMABLE, open_run
from ctbench_core.stored import parse_json, read_file
from ctbench_ui.pages import page
from ctbench_ui.shared import ago, as_text, run_actions, show_errors, state_style
from ctbench_ui.shared.text import name_fields

_SINCE = "home.since"
_SHOWN = 5
# A name is told apart from others by its end, which may not be cut; its icon stands beside its first line.
_STYLE = """<style>
[class*=st-key-recent-] [data-testid=stPageLink] p {white-space: normal; overflow: visible; line-height: 1.5rem}
[class*=st-key-recent-] [data-testid=stPageLink] a {align-items: flex-start; line-height: 1.5rem}
[class*=st-key-recent-] [data-testid=stPageLink] a > span:first-child {height: 1.5rem}
</style>"""
# A refresh, or a second tab, is the same visit.
VISIT = timedelta(minutes=30)


def last_visit(outputs_root: Path) -> str:
    """Return when the visit before this one ended, as ISO time; empty when this is the first."""
    if _SINCE not in st.session_state:
        st.session_state[_SINCE] = note_visit(outputs_root / ".visits.json", datetime.now(UTC))
    return str(st.session_state[_SINCE])


def note_visit(path: Path, moment: datetime) -> str:
    """Record a visit at ``moment``; return when the one before it ended, as ISO time, or an empty text."""
    try:
        visits = read_file(path, _parse_visits)
    except (DamagedFile, FileNotFoundError):  # a convenience: this visit writes the file anew
        visits = {}
    before, last = visits.get("before", ""), visits.get("last", "")
    if last and moment - datetime.fromisoformat(last) > VISIT:
        before = last
    with contextlib.suppress(OSError):  # a read-only store is shown without it
        write_json(path, {"before": before, "last": moment.isoformat()})
    return before


def _parse_visits(text: str) -> dict[str, str]:
    visits: dict[str, str] = parse_json(text, dict[str, str])
    if any(time and datetime.fromisoformat(time).tzinfo is None for time in visits.values()):
        raise ValueError("a time has no zone")
    return visits


def draw_recent(rows: list[dict[str, Any]], since: str) -> None:
    """Draw the runs that ended since a time, newest first, or the latest ones when there is none.

    Args:
        rows: rows of `cache.run_row`.
    """
    ended = sorted((row for row in rows if row["state"] in ENDED), key=lambda row: row["updated"], reverse=True)
    fresh = [row for row in ended if since and row["updated"] > since]
    st.header("Recent activity", anchor=False)
    if not ended:
        st.caption("No run has ended yet.")
    st.html(_STYLE)
    for place, row in enumerate((fresh or ended)[:_SHOWN]):
        style = state_style(row["state"])
        with st.container(gap=None, key=f"recent-{place}"):
            link = {"run": row["run_id"]}
            st.page_link(page("runs"), label=as_text(row["name"]), icon=style.icon, query_params=link)
            st.caption(_describe(row))
            if row["state"] in RESUMABLE:
                _offer_next(row)
    if len(fresh) > _SHOWN:
        st.caption(f"… and {len(fresh) - _SHOWN} more")


def _offer_next(row: dict[str, Any]) -> None:
    with show_errors("This run cannot be read"):
        run_actions.draw_next(open_run(row["run_dir"]), f"recent-{row['run_id']}")


def _describe(row: dict[str, Any]) -> str:
    parts = [f"{row['state'].capitalize()} {ago(row['updated'])}"]
    if row["best_epoch"]:
        parts.append(f"validation AUPRC {format_metric(row['val_auprc'])} at epoch {row['best_epoch']}")
    if row["error"]:
        parts.append(as_text(name_fields(row["error"].splitlines()[0])))
    return " · ".join(parts)
