"""Packed features on the System page: what each store takes, who uses it, and a deliberate step that removes some."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import streamlit as st

from ctbench_core.config import Config
from ctbench_core.dataset import KnownPack, known_packs
from ctbench_core.doctor import sized
from ctbench_core.errors import CtbenchError, InputError
from ctbench_core.features import remove_store
from ctbench_core.formatting import plural
from ctbench_core.runs import RunStore
from ctbench_ui import form
from ctbench_ui.shared import active_jobs, datasets, feedback

_GOING = ("unused", "damaged")
_SAID = {
    "in use": "read by a run that waits or is at work",
    "up to date": "its files are as they were packed",
    "outdated": "files have changed or gone: they are read anew at the next use",
    "unused": "no run, data set or present choice reads it",
    "damaged": "cannot be opened: the next use packs its files anew",
}
_COLOURS = {"in use": "blue", "up to date": "green", "outdated": "orange", "unused": "gray", "damaged": "red"}


def draw(cache: Path) -> None:
    """Draw the packed stores of a cache folder, with what may go selected."""
    packs = _known(cache)
    if not packs:
        st.caption("Nothing is packed yet: from 2,000 files on, the first use of a feature root packs them.")
        return
    names = [pack.store.folder.name for pack in packs]
    going = [place for place, pack in enumerate(packs) if pack.state in _GOING]
    event = st.dataframe(
        _table(packs),
        hide_index=True,
        key=f"packs-{hash(tuple(names)) & 0xFFFFFFFF:x}",  # a selection is a position
        column_config={
            "state": st.column_config.MultiselectColumn("state", options=list(_SAID), color=list(_COLOURS.values())),
            "files": st.column_config.NumberColumn("files", format="localized"),
            "changed": st.column_config.NumberColumn("changed", format="localized"),
        },
        on_select="rerun",
        selection_mode="multi-row",
        selection_default={"selection": {"rows": going}},
        lazy=False,
        alt="Packed features",
    )
    seen = dict.fromkeys(pack.state for pack in packs)
    st.caption(" · ".join(f"**{state}**: {_SAID[state]}" for state in seen))
    _offer([packs[row] for row in event.selection.rows if row < len(packs)], cache)


def _known(cache: Path) -> list[KnownPack]:
    root = form.outputs_root()
    chosen = []
    loads: list[Callable[[], Config]] = [form.config]
    loads += [partial(datasets.load, root, name) for name in datasets.names(root)]
    for load in loads:
        with contextlib.suppress(InputError):  # the Data page says what is wrong with it
            chosen.append(load())
    packs = known_packs(cache, RunStore(root).runs(kind=None), chosen)
    # What a study has yet to read is not known from its runs: while one is at work, every store may be next.
    if any(map(active_jobs.is_study, active_jobs.jobs())):
        return [dataclasses.replace(pack, busy=True) for pack in packs]
    return packs


def _table(packs: list[KnownPack]) -> pd.DataFrame:
    rows = [
        {
            "state": [pack.state],
            "size": sized(pack.store.size),
            "features": _named(pack),
            "of": pack.store.kind,
            "read by": _readers(pack),
            "files": pack.store.files,
            "changed": pack.changed,
        }
        for pack in packs
    ]
    return pd.DataFrame(rows)


def _named(pack: KnownPack) -> str:
    """Name a store by its feature root; without a known one by that folder's name, which its own begins with."""
    return pack.root or f"… {pack.store.folder.name.rsplit('-', 2)[0]}"


def _readers(pack: KnownPack) -> str:
    parts = [plural(pack.runs, "run")] if pack.runs else []
    return ", ".join([*parts, *(["chosen data"] if pack.chosen else [])]) or "nobody"


def _offer(chosen: list[KnownPack], cache: Path) -> None:
    """Offer to remove the chosen stores, in two steps; those in use stay."""
    free = [pack for pack in chosen if not pack.busy]
    gain = sized(sum(pack.store.size for pack in free))
    if len(free) < len(chosen):
        st.caption(f":material/lock: {plural(len(chosen) - len(free), 'selected store')} in use: not removed.")
    title = f"Remove {plural(len(free), 'store')} · frees {gain}" if free else "Select stores to remove"
    with st.popover(title, icon=":material/delete_forever:", disabled=not free, key="packs-remove"):
        st.markdown(
            f"This frees **{gain}**. Feature files stay as they are: the next use of these features reads them all again "
            "and packs them anew."
        )
        for pack in free:
            st.caption(f"{_named(pack)} · {pack.store.kind} · {sized(pack.store.size)} · {pack.state}")
        if st.button("Remove for good", type="primary", key="packs-remove-now"):
            _remove([pack.store.folder for pack in free], cache)


def _remove(folders: list[Path], cache: Path) -> None:
    """Remove stores, except those that a run has begun to read since they were chosen."""
    freed, problems = 0, []
    for pack in _known(cache):
        if pack.store.folder in folders and not pack.busy:
            try:
                freed += remove_store(pack.store.folder)
            except CtbenchError as error:
                problems.append(str(error))
    if problems:
        feedback.problem("Some packed features were not removed", "\n".join(problems))
        return
    st.toast(f"Freed {sized(freed)}", icon=":material/check_circle:")
    st.rerun()
