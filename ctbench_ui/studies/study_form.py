"""The form of a new study: a protocol to begin with, the axes of its grid, and an estimate of its time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import streamlit as st
import yaml

from ctbench_core.config import KEYS, model_groups
from ctbench_core.errors import ConfigError, CtbenchError
from ctbench_core.formatting import plural
from ctbench_core.installation import program
from ctbench_core.studies import AXES, Study, parse_study, seconds_per_run, shared_keys
from ctbench_ui import form
from ctbench_ui.shared import cache, duration, edit_rows, folders, path_field, show_error
from ctbench_ui.studies import workers

# protocol: its question, and the fields that it sets.
PROTOCOLS: dict[str, tuple[str, dict[str, Any]]] = {
    "Label budgets": ("Performance against label budget", {"budget": "20, 50, 100, 250, 500, all", "seeds": 5}),
    "Few-shot": ("Performance with few labels", {"budget": "10, 20, 40", "seeds": 10}),
    "Encoders": ("Which encoder is best?", {"seeds": 5, "model": ["linear_probe"]}),
    "Label sources": ("Which label source is best?", {"seeds": 5}),
    "Probe or MLP": ("Does an MLP beat a linear probe?", {"seeds": 5, "model": ["linear_probe", "mlp_visual"]}),
    "K-fold": ("Performance without a fixed test set", {"seeds": 3, "folds": 5}),
}
_FIELDS: dict[str, Any] = {"budget": "", "seeds": 5, "model": ["mlp_visual"], "encoder": [], "source": [], "folds": 0}
_KEEP: dict[str, Any] = {"persist_state": "session"}
_AXIS_KEYS = [name for name, info in KEYS.items() if info.counts_for("identity")]
WORKERS = "study.workers"
_LAST_RUNS = 40  # of these the estimate takes the pace


def draw() -> Study | None:
    """Draw the form; return the study when *Start* is pressed."""
    _protocols()
    _axes()
    try:
        study = _study()
        count = plural(len(list(study.configs())), "run")
    except CtbenchError as error:
        show_error("Invalid value in the grid", str(error))
        return None
    with st.container(horizontal=True, vertical_alignment="bottom"):
        pressed = st.button(f"Start {count}", type="primary", icon=":material/play_arrow:", key="study-start")
        workers.draw_field(WORKERS)
        st.markdown(f"**= {count}** {_estimate(len(list(study.configs())))}")
    st.caption(
        "All other settings are those of Data and Train. A study evaluates every run on test; each evaluation is logged."
    )
    with st.expander("Equivalent YAML and command", icon=":material/terminal:"):
        st.code(yaml.safe_dump(study.to_dict(), sort_keys=False, allow_unicode=True), language=None)
        asked = int(st.session_state.get(WORKERS) or 1)
        command = f"{program()} study study.yaml" + (f" --workers {asked}" if asked > 1 else "")
        st.code(command, language=None, wrap_lines=True)
    return study if pressed else None


def _protocols() -> None:
    with st.container(border=True, key="study-protocols"):
        st.markdown("**Protocol**")
        for column, (name, (question, _)) in zip(st.columns(len(PROTOCOLS)), PROTOCOLS.items()):
            chosen = st.session_state.get("study.protocol") == name
            column.button(
                name,
                key=f"protocol-{name}",
                width="stretch",
                on_click=_set_protocol,
                args=(name,),
                icon=":material/check:" if chosen else None,
            )
            column.caption(question)


def _set_protocol(protocol: str) -> None:
    st.session_state["study.protocol"] = protocol
    for field, value in (_FIELDS | PROTOCOLS[protocol][1]).items():
        st.session_state[f"study.{field}"] = value
    st.session_state["study.name"] = protocol.lower()


def _axes() -> None:
    """Draw the axes of the grid, one field each."""
    for field, default in (_FIELDS | {"name": "my study"}).items():
        st.session_state.setdefault(f"study.{field}", default)
    left, middle, right = st.columns(3, gap="large")
    with left:
        st.text_input(
            "Name", key="study.name", help="Folder in the run store. The name of an existing study extends it.", **_KEEP
        )
        unit = KEYS["data.budget_unit"].default
        help_ = f"Training and validation {unit}s together: 20, 50, all."
        st.text_input("Budgets", key="study.budget", placeholder="all labels", help=help_, **_KEEP)
        help_ = "Runs per cell, with seeds 1, 2, …; each seed draws its own patients."
        st.number_input("Seeds", 1, 1000, key="study.seeds", help=help_, **_KEEP)
    with middle:
        st.multiselect("Heads", _heads(), key="study.model", **_KEEP)
        help_ = "K of a patient-grouped K-fold. 0: the fixed test set."
        st.number_input("Folds", 0, 50, key="study.folds", help=help_, **_KEEP)
        st.selectbox("Another setting", _AXIS_KEYS, index=None, key="study.more", placeholder="none", **_KEEP)
        if st.session_state.get("study.more"):
            st.text_input("Values", key="study.values", placeholder="1e-4, 1e-3", **_KEEP)
    with right:
        root = form.outputs_root()
        _folder_axis("encoder", "Encoder", "Feature root", folders.feature_roots(root))
        _folder_axis("source", "Label source", "Manifest folder", folders.manifest_folders(root))


def _heads() -> list[str]:
    """Return one name for every head, as ``model=<name>`` takes it."""
    names: dict[str, str] = {}
    for name, keys in model_groups().items():
        names.setdefault(keys["model._target_"], name)
    return list(names.values())


def _folder_axis(axis: str, title: str, label: str, offered: Sequence[str]) -> None:
    """Draw the values of an axis that are folders, each under a name."""

    def draw_new() -> Callable[[], tuple[str, str] | None]:
        name = st.text_input(title, key=f"study.{axis}.name", placeholder="name", width=110)
        help_ = "Empty: the folder chosen on Data. The name is optional."
        folder = path_field(f"study.{axis}.folder", label, offered, help_)
        return lambda: (name.strip() or Path(folder).name, folder) if folder else None

    edit_rows(f"study.{axis}", f"study-{axis}", " = ".join, draw_new)


def _study() -> Study:
    """Return the study that the fields describe.

    Raises:
        CtbenchError: a value does not fit.
    """
    state = st.session_state
    own = (AXES["seed"], AXES["budget"])  # fields of this form
    base = {key: value for key, value in shared_keys(form.config()).items() if key not in own}
    grid: dict[str, Any] = {}
    if budgets := _values(state["study.budget"]):
        grid["budget"] = budgets
    grid["utils.seed"] = list(range(1, int(state["study.seeds"]) + 1))
    if state["study.model"]:
        grid["model"] = list(state["study.model"])
        kept = ("model.params.", "model.inputs")
        base = {k: v for k, v in base.items() if not k.startswith("model.") or k.startswith(kept)}
    for axis in ("encoder", "source"):
        if rows := state[f"study.{axis}"]:
            grid[axis] = dict(rows)
            base.pop(AXES[axis], None)
    if (key := state.get("study.more")) and (values := _values(state.get("study.values") or "")):
        grid[key] = values
        base.pop(key, None)
    folds = int(state["study.folds"])
    protocol = {"kfold": folds} if folds else None
    return parse_study({"name": state["study.name"], "base": base, "grid": grid, "protocol": protocol})


def _values(text: str) -> list[Any]:
    """Read comma-separated values as YAML: numbers, words, lists in brackets."""
    try:
        values = yaml.safe_load(f"[{text}]") or []
    except yaml.YAMLError as error:
        raise ConfigError(f"{text!r} cannot be read. Separate values with commas.") from error
    return [_number(value) for value in values]


def _number(value: Any) -> Any:
    try:
        return float(value) if isinstance(value, str) else value  # YAML reads 1e-4 as text
    except ValueError:
        return value


def _estimate(runs: int) -> str:
    """Write how long so many runs take, from the last runs of this store; empty without any."""
    rows = [row for row in cache.run_rows(str(form.outputs_root())) if row["seconds"] and row["state"] == "finished"]
    if not (last := rows[:_LAST_RUNS]):
        return ""
    seconds = runs * (seconds_per_run([(row["updated"], row["seconds"]) for row in last]) or 0.0)
    return f"· about {duration(max(1.0, seconds))} on this machine, at the pace of the last {plural(len(last), 'run')}"
