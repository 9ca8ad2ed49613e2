"""The card of one run: its metrics, the actions on it, notes, settings, provenance and files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.config import KEYS, changed_keys, get_key, model_groups, set_keys, value_text
from ctbench_core.runs import (
    LONGEST_NAME,
    RESUMABLE,
    Run,
    annotate,
    convergence,
    delete_run,
    open_run,
    read_json,
    rename_run,
    why_not_resumable,
)
from ctbench_ui import form
from ctbench_ui.frame import address, readonly
from ctbench_ui.pages import go
from ctbench_ui.runs import bulk, run_metrics
from ctbench_ui.shared import (
    as_text,
    cache,
    deletion,
    draw_tabs,
    live,
    run_actions,
    settings_table,
    show_error,
    show_errors,
    state_badge,
)
from ctbench_ui.shared.commands import draw_command

_ALL_HEIGHT = 480  # of the list of all settings, in pixels
_RENAME = "card-rename"


def draw(run_dir: Path, name: str, known_tags: list[str]) -> None:
    """Draw the card of a run.

    Args:
        name: of the run beside others. known_tags: tags of other runs, to choose from.
    """
    with show_errors("This run cannot be read"), st.container(border=True, key="run-card"):
        run = open_run(run_dir)
        _heading(run, name)
        run_metrics.draw(run)
        if run.status.error:
            show_error("Error", run.status.error)
        obstacle = why_not_resumable(run)
        with st.container(horizontal=True, gap="small"):
            _offer_evaluation(run)
            run_actions.draw(run, "card")
            _offer_download(run)
            if not readonly.is_on():
                _change(run)
        if obstacle and run.status.state in RESUMABLE and not readonly.is_on():
            st.caption(f":material/info: {as_text(obstacle)}")
        _convergence(run)
        if readonly.is_on():
            _show_notes(run)
        else:
            _notes(run, known_tags)
        contents = {
            "Settings": lambda: _settings(run),
            "Curves": lambda: live.draw_curves_of(run, "card"),
            "Provenance and files": lambda: _files(run),
        }
        draw_tabs(contents, "card-tabs")


def _heading(run: Run, name: str) -> None:
    """Draw the name of a run, the box that changes it, and the run's state."""
    st.header(as_text(name), anchor=False)
    by = f" :gray[started by {as_text(run.status.started_by)}]" if run.status.started_by else ""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"{state_badge(run.status.state)}{by}", width="content")
        if not readonly.is_on():
            _rename(run)


def _rename(run: Run) -> None:
    field = f"name-{run.run_id}"
    # As for tags and notes, the file decides.
    with show_errors("The notes of this run cannot be read"):
        st.session_state[field] = run.annotations().name
    with st.popover("Rename", icon=":material/edit:", type="tertiary", key=_RENAME, on_change="rerun"):
        st.text_input(
            "Name",
            key=field,
            max_chars=LONGEST_NAME,
            placeholder=run.automatic_name,
            help="Empty: the automatic name.",
            on_change=lambda: _save_name(run, st.session_state[field]),
        )


def _save_name(run: Run, name: str) -> None:
    with show_errors("Not saved"):
        rename_run(run.paths.root, name)
        st.session_state[_RENAME] = False


def _offer_evaluation(run: Run) -> None:
    if run.paths.final_model.is_file() and st.button(
        "Evaluate", icon=":material/query_stats:", key="card-evaluate", type="primary"
    ):
        go("evaluate", {"run": run.run_id})


def _offer_download(run: Run) -> None:
    st.download_button(
        "Download",
        data=lambda: bulk.zip_bytes([run.paths.root]),
        file_name=f"{run.run_id}.zip",
        mime="application/zip",
        key="card-zip",
        icon=":material/folder_zip:",
        on_click="ignore",
        help="Config, command, scores, tables, curves, weights and provenance in one file.",
    )


def _change(run: Run) -> None:
    """Draw the buttons that change what is stored of a run."""
    _star(run)
    hint = "Stop the run first." if run.status.active else "Can be undone."
    if st.button("Delete", icon=":material/delete:", key="card-delete", disabled=run.status.active, help=hint):
        with show_errors("The run cannot be deleted"):
            deletion.note(f"{run.name} · {run.run_id}", [delete_run(form.outputs_root(), run)])
            address.write_ids("run", [])
            st.rerun()


def _convergence(run: Run) -> None:
    """Warn of a run far from its optimum, and offer to train the optimum; say where the two were not compared."""
    record = convergence(run)
    if record is None or not record.sentence():
        return
    if not record.mark:
        st.caption(f":material/info: {as_text(record.sentence())}")
        return
    st.warning(as_text(record.sentence()), icon=":material/trending_up:")
    if not readonly.is_on() and st.button(
        "Train the optimum",
        icon=":material/target:",
        key="card-optimum",
        help="Fill the Train form with these settings and logistic regression as the head.",
    ):
        optimum = run.config.copy()
        set_keys(optimum, model_groups()["logistic"] | {"logging.run_name": None})
        run_actions.clone(optimum, f"{run.name}, its optimum")


def _star(run: Run) -> None:
    """Draw the button that stars or unstars a run."""
    pinned = run.annotations().pinned
    st.button(
        "Unstar" if pinned else "Star",
        icon=":material/star:" if pinned else ":material/star_outline:",
        key="card-star",
        help="Home lists every starred run.",
        on_click=_annotate,
        args=(run, {"pinned": not pinned}),
    )


def _show_notes(run: Run) -> None:
    stored = run.annotations()
    if stored.tags:
        st.markdown(" ".join(f":gray-badge[{as_text(tag)}]" for tag in stored.tags))
    if stored.notes:
        st.text(stored.notes)


def _notes(run: Run, known_tags: list[str]) -> None:
    """Draw a run's tags and notes as fields that save themselves."""
    stored = run.annotations()
    tags, notes = f"tags-{run.run_id}", f"notes-{run.run_id}"
    # The file decides: another browser tab may have changed it since this one was drawn.
    st.session_state[tags], st.session_state[notes] = list(stored.tags), stored.notes
    left, right = st.columns([2, 3])
    left.multiselect(
        "Tags",
        list(dict.fromkeys([*known_tags, *stored.tags])),
        key=tags,
        accept_new_options=True,
        placeholder="Add a tag",
        on_change=lambda: _annotate(run, {"tags": st.session_state[tags]}),
    )
    right.text_area(
        "Notes",
        key=notes,
        height=68,
        placeholder="Purpose and outcome of this run",
        on_change=lambda: _annotate(run, {"notes": st.session_state[notes]}),
    )


def _annotate(run: Run, values: dict[str, Any]) -> None:
    with show_errors("Not saved"):
        annotate(run.paths.root, **values)


def _settings(run: Run) -> None:
    st.caption("Settings that differ from the defaults.")
    _keys(changed_keys(run.config), "Settings that differ from the defaults")
    st.caption("Equivalent command")
    draw_command(run.config)
    with st.expander("All settings", key="card-all", on_change="rerun") as box:
        if box.open:
            with st.container(height=_ALL_HEIGHT, border=False):
                _keys({key: get_key(run.config, key) for key in KEYS}, "All settings")


def _keys(values: dict[str, Any], alt: str) -> None:
    settings_table.draw({key: [value_text(key, value)] for key, value in values.items()}, ["Value"], alt)


def _files(run: Run) -> None:
    st.code(str(run.paths.root), language=None, wrap_lines=True)
    files = [file for file in sorted(run.paths.root.rglob("*")) if file.is_file()]
    rows = [{"File": file.relative_to(run.paths.root).as_posix(), "KiB": cache.stamp(file)[2] / 1024} for file in files]
    config = {"KiB": st.column_config.NumberColumn(format="%.1f")}
    st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=config, alt="Files of the run")
    provenance = json.dumps(read_json(run.paths.provenance) or {}, indent=2, ensure_ascii=False)
    st.code(provenance, language=None, height=420)
