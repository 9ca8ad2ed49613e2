"""Build a study: a protocol to begin with, the axes of its grid, and how many runs and how long that is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st
import yaml

from ctbench_core.config import KEYS, changed_keys
from ctbench_core.errors import ConfigError, CtbenchError
from ctbench_core.formatting import plural
from ctbench_core.studies import AXES, Study, groups, pace, study_from
from ctbench_ui import form
from ctbench_ui.shared import cache, feedback
from ctbench_ui.shared.style import duration

# protocol: what it answers, and the fields that it sets.
PROTOCOLS: dict[str, tuple[str, dict[str, Any]]] = {
    "Label budgets": ("How good with how many labels?", {"budget": "20, 50, 100, 250, 500, all", "seeds": 5}),
    "Few-shot": ("How good with a handful?", {"budget": "10, 20, 40", "seeds": 10}),
    "Encoders": ("Which features hold most?", {"seeds": 5, "model": ["linear_probe"], "wants": "encoder"}),
    "Label sources": ("Whose labels train best?", {"seeds": 5, "wants": "source"}),
    "Probe or MLP": ("Does a deeper head pay?", {"seeds": 5, "model": ["linear_probe", "mlp_visual"]}),
    "K-fold": ("How good without a fixed test?", {"seeds": 3, "folds": 5}),
}
_FIELDS: dict[str, Any] = {"budget": "", "seeds": 5, "model": ["mlp_visual"], "encoder": "", "source": "", "folds": 0}
_OWN = ("utils.seed", "data.budget", "logging.run_name", "paths.run_dir", "paths.output_dir", "training.resume")
_ESTIMATED = 40


def draw() -> Study | None:
    """Draw the builder; return the study once it is asked to start."""
    with st.container(border=True, key="study-protocols"):
        st.markdown("**What do you want to know?**")
        columns = st.columns(len(PROTOCOLS))
        for column, (name, (question, _)) in zip(columns, PROTOCOLS.items()):
            with column:
                chosen = st.session_state.get("study.protocol") == name
                st.button(
                    name,
                    key=f"protocol-{name}",
                    width="stretch",
                    type="secondary",
                    on_click=_take,
                    args=(name,),
                    icon=":material/check:" if chosen else None,
                )
                st.caption(question)
    _axes()
    try:
        study = _study()
        runs = len(list(study.configs()))
    except CtbenchError as error:
        feedback.problem("A value of the grid does not fit", str(error))
        return None
    with st.container(horizontal=True, vertical_alignment="center"):
        start = st.button(
            f"Start {plural(runs, 'run')}", type="primary", icon=":material/play_arrow:", key="study-start"
        )
        st.markdown(f"**= {plural(runs, 'run')}** {_estimate(runs)}")
    st.caption(
        "Everything else is as set on Data and Train. A study opens its test for every run: its protocol says so, and the ledger counts it."
    )
    with st.expander("The same as YAML and on the command line", icon=":material/terminal:"):
        st.code(yaml.safe_dump(study.to_dict(), sort_keys=False, allow_unicode=True), language="yaml")
        st.code("python -m ctbench_core study study.yaml", language="bash")
    return study if start else None


def _take(protocol: str) -> None:
    st.session_state["study.protocol"] = protocol
    for field, default in {**_FIELDS, **PROTOCOLS[protocol][1]}.items():
        if field in _FIELDS:
            st.session_state[f"study.{field}"] = default
    if not st.session_state.get("study.named"):
        st.session_state["study.name"] = protocol.lower()


def _axes() -> None:
    for field, default in _FIELDS.items():
        st.session_state.setdefault(f"study.{field}", default)
    st.session_state.setdefault("study.name", "my study")
    left, middle, right = st.columns(3, gap="large")
    keep: dict[str, Any] = {"persist_state": "session"}
    with left:
        st.text_input(
            "Name", key="study.name", help="Folder of the run store; the same name goes on with the same study.", **keep
        )
        unit = KEYS["data.budget_unit"].default
        st.text_input(
            "Budgets",
            key="study.budget",
            placeholder="all labels",
            help=f"Training and validation {unit}s together: 20, 50, all.",
            **keep,
        )
        st.number_input(
            "Seeds",
            1,
            1000,
            key="study.seeds",
            help="Runs a cell, seeds 1, 2, ...: each draws its own patients.",
            **keep,
        )
    with middle:
        st.multiselect("Heads", groups(), key="study.model", **keep)
        st.number_input(
            "Folds", 0, 50, key="study.folds", help="K of a patient-grouped K-fold; 0: the fixed test.", **keep
        )
        st.selectbox("One more axis", list(KEYS), index=None, key="study.more", placeholder="any setting", **keep)
        if st.session_state.get("study.more"):
            st.text_input("Its values", key="study.values", placeholder="1e-4, 1e-3", **keep)
    with right:
        place = {"height": 96, **keep}
        st.text_area(
            "Encoders",
            key="study.encoder",
            placeholder="name = feature root, one a line",
            help="Empty: the features chosen on Data.",
            **place,
        )
        st.text_area(
            "Label sources",
            key="study.source",
            placeholder="name = manifest folder, one a line",
            help="Empty: the manifests chosen on Data.",
            **place,
        )


def _study() -> Study:
    state = st.session_state
    config = form.config()
    base = {k: v for k, v in changed_keys(config).items() if k != "job_name" and not k.startswith(_OWN)}
    grid: dict[str, Any] = {}
    if budgets := _values(state["study.budget"]):
        grid["budget"] = budgets
    grid["utils.seed"] = list(range(1, int(state["study.seeds"]) + 1))
    if state["study.model"]:
        grid["model"] = list(state["study.model"])
        base = {
            k: v
            for k, v in base.items()
            if not k.startswith("model.") or k.startswith(("model.params.", "model.inputs"))
        }
    for axis in ("encoder", "source"):
        if lines := _lines(axis, state[f"study.{axis}"]):
            grid[axis] = lines
            base.pop(AXES[axis], None)
    if (key := state.get("study.more")) and (values := _values(state.get("study.values") or "")):
        grid[key] = values
        base.pop(key, None)
    folds = int(state["study.folds"])
    return study_from(
        {"name": state["study.name"], "base": base, "grid": grid, "protocol": {"kfold": folds} if folds else None}
    )


def _values(text: str) -> list[Any]:
    """Read values as YAML does: numbers, words, lists in brackets."""
    try:
        found = yaml.safe_load(f"[{text}]") or []
    except yaml.YAMLError as error:
        raise ConfigError(f"{text!r} cannot be read; write values with commas between.") from error
    return [_number(value) for value in found]


def _number(value: Any) -> Any:
    try:
        return float(value) if isinstance(value, str) else value  # YAML takes 1e-4 for a word
    except ValueError:
        return value


def _lines(axis: str, text: str) -> dict[str, str]:
    found = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, equals, place = line.partition("=")
        if not equals:
            name, place = Path(line).name, line
        found[name.strip()] = place.strip()
    return found


def _estimate(runs: int) -> str:
    """Tell how long so many runs take, from the last runs of this store; empty without any."""
    rows = [row for row in cache.run_rows(str(form.outputs_root())) if row["seconds"] and row["state"] == "finished"]
    if not rows:
        return ""
    last = rows[:_ESTIMATED]
    each = pace([(row["updated"], row["seconds"]) for row in last]) or 0.0
    return (
        f"· about {duration(max(1.0, each * runs))} on this machine, at the pace of the last {plural(len(last), 'run')}"
    )
