"""What has changed since a user was last here: which runs have ended in the meantime."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import streamlit as st

from ctbench_core.atomic import write_json
from ctbench_core.formatting import format_metric
from ctbench_core.runs import ENDED, read_json
from ctbench_ui.shared.style import STATES, ago

_SINCE = "home.since"
_SHOWN = 5
# A refresh, or a second tab, is still the same visit.
VISIT = timedelta(minutes=30)


def last_visit(outputs_root: Path) -> str:
    """Return when the visit before this one ended, as ISO time; empty when this is the first."""
    if _SINCE not in st.session_state:
        st.session_state[_SINCE] = note_visit(outputs_root / ".visits.json", datetime.now(UTC))
    return str(st.session_state[_SINCE])


def note_visit(path: Path, moment: datetime) -> str:
    """Write down a visit at ``moment``; return when the one before it ended, as ISO time, or nothing."""
    known = read_json(path)
    before, last = ("", "") if not isinstance(known, dict) else (known.get("before", ""), known.get("last", ""))
    if last and moment - datetime.fromisoformat(last) > VISIT:
        before = last
    with contextlib.suppress(OSError):  # a store that may only be read is still worth looking at
        write_json(path, {"before": before, "last": moment.isoformat()})
    return before


def draw(rows: list[dict[str, Any]], since: str) -> None:
    """Draw the runs that have ended since, newest first, or the latest ones when none has.

    Args:
        rows: rows of `cache.run_row`.
    """
    ended = sorted((row for row in rows if row["state"] in ENDED), key=lambda row: row["updated"], reverse=True)
    fresh = [row for row in ended if since and row["updated"] > since]
    st.subheader("Since your last visit" if fresh else "Lately", anchor=False)
    if not ended:
        st.caption("No run has ended yet.")
    for row in (fresh or ended)[:_SHOWN]:
        colour, icon = STATES[row["state"]]
        with st.container(gap=None):
            st.markdown(f":{colour}[{icon}] {row['name']}")
            st.caption(_said(row))
    if len(fresh) > _SHOWN:
        st.caption(f"… and {len(fresh) - _SHOWN} more")


def _said(row: dict[str, Any]) -> str:
    parts = [f"{row['state']} {ago(row['updated'])}"]
    if row["best_epoch"]:
        parts.append(f"AUPRC {format_metric(row['val_auprc'])} @ {row['best_epoch']}")
    if row["error"]:
        parts.append(row["error"].splitlines()[0])
    return " · ".join(parts)
