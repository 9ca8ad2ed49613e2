"""Packed features on the System page: the size of each store, its users, and a two-step removal."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import streamlit as st

from ctbench_core.config import Config
from ctbench_core.dataset import StoreUsage, store_usage
from ctbench_core.errors import CtbenchError, InputError
from ctbench_core.features import remove_store
from ctbench_core.formatting import format_bytes, plural
from ctbench_core.runs import RunStore
from ctbench_ui import form
from ctbench_ui.shared import active_jobs, as_text, datasets, select_rows, show_error

_REMOVABLE = ("unused", "damaged")
_HELP = {
    "in use": "an active run reads it",
    "up to date": "its files have not changed",
    "outdated": "files have changed or are gone; the next use reads them again",
    "unused": "no run, data set or chosen field needs it",
    "damaged": "cannot be opened; the next use packs its files again",
}
_COLOURS = {"in use": "blue", "up to date": "green", "outdated": "orange", "unused": "gray", "damaged": "red"}


def draw(cache: Path) -> None:
    """Draw the packed stores of a cache folder; those that can be removed are selected."""
    packs = _list_packs(cache)
    if not packs:
        st.caption("Nothing packed yet. A feature root of 2,000 files or more is packed on first use.")
        return
    names = [pack.store.folder.name for pack in packs]
    removable = [place for place, pack in enumerate(packs) if pack.state in _REMOVABLE]
    columns = {
        "state": st.column_config.MultiselectColumn("State", options=list(_HELP), color=list(_COLOURS.values())),
        "files": st.column_config.NumberColumn("Files", format="localized"),
        "changed": st.column_config.NumberColumn("Changed", format="localized"),
        "of": "Kind",
        **{name: name.capitalize() for name in ("size", "features", "read by")},
    }
    rows = select_rows(_table(packs), names, "packs", columns, "Packed features", removable)
    states = dict.fromkeys(pack.state for pack in packs)
    st.caption(" · ".join(f"**{state}**: {_HELP[state]}" for state in states))
    _offer_removal([packs[row] for row in rows], cache)


def _list_packs(cache: Path) -> list[StoreUsage]:
    root = form.outputs_root()
    configs = []
    loads: list[Callable[[], Config]] = [form.config]
    loads += [partial(datasets.load, root, name) for name in datasets.names(root)]
    for load in loads:
        with contextlib.suppress(InputError):  # the Data page shows what is wrong with it
            configs.append(load())
    packs = store_usage(cache, RunStore(root).runs(kind=None), configs)
    # The runs of a study do not say what it will read: while one is active, every store may be next.
    if any(map(active_jobs.is_study, active_jobs.list_jobs())):
        return [dataclasses.replace(pack, busy=True) for pack in packs]
    return packs


def _table(packs: list[StoreUsage]) -> pd.DataFrame:
    rows = [
        {
            "state": [pack.state],
            "size": format_bytes(pack.store.size),
            "features": _name(pack),
            "of": pack.store.kind,
            "read by": _readers(pack),
            "files": pack.store.files,
            "changed": pack.changed,
        }
        for pack in packs
    ]
    return pd.DataFrame(rows)


def _name(pack: StoreUsage) -> str:
    """Return the feature root of a store; when it is unknown, the folder name that the store begins with."""
    return pack.root or f"… {pack.store.folder.name.rsplit('-', 2)[0]}"


def _readers(pack: StoreUsage) -> str:
    parts = [plural(pack.runs, "run")] if pack.runs else []
    return ", ".join([*parts, *(["chosen data"] if pack.chosen else [])]) or "none"


def _offer_removal(chosen: list[StoreUsage], cache: Path) -> None:
    """Offer to remove the chosen stores, in two steps; those in use stay."""
    free = [pack for pack in chosen if not pack.busy]
    gain = format_bytes(sum(pack.store.size for pack in free))
    if len(free) < len(chosen):
        st.caption(f":material/lock: {plural(len(chosen) - len(free), 'selected store')} in use: not removed.")
    title = f"Remove {plural(len(free), 'store')} · frees {gain}" if free else "Select stores to remove"
    with st.popover(title, icon=":material/delete_forever:", disabled=not free, key="packs-remove"):
        st.markdown(
            f"This frees **{gain}**. Feature files are kept: the next use of these features reads and packs them again."
        )
        for pack in free:
            st.caption(f"{as_text(_name(pack))} · {pack.store.kind} · {format_bytes(pack.store.size)} · {pack.state}")
        if st.button("Remove permanently", type="primary", key="packs-remove-now"):
            _remove([pack.store.folder for pack in free], cache)


def _remove(folders: list[Path], cache: Path) -> None:
    """Remove stores, except those that a run has begun to read since they were selected."""
    freed, problems = 0, []
    for pack in _list_packs(cache):
        if pack.store.folder in folders and not pack.busy:
            try:
                freed += remove_store(pack.store.folder)
            except CtbenchError as error:
                problems.append(str(error))
    if problems:
        show_error("Some packed features were not removed", "\n".join(problems))
        return
    st.toast(f"Freed {format_bytes(freed)}", icon=":material/check_circle:")
    st.rerun()
