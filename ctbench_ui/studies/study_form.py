"""The form of a new study: a protocol or template to begin with, the axes of its grid, and what it will cost."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import streamlit as st

from ctbench_core.config import KEYS, Config, dump_yaml, model_groups
from ctbench_core.dataset import list_test_sets
from ctbench_core.errors import CtbenchError
from ctbench_core.formatting import format_time_span, plural
from ctbench_core.installation import program
from ctbench_core.studies import AXES, GROUP, Study, Template, label_title, parse_study, seconds_per_run, shared_keys
from ctbench_ui import form
from ctbench_ui.shared import cache, folders, show_error
from ctbench_ui.studies import folder_axis, key_axes, templates_box, workers

# protocol: its question, and the fields that it sets.
PROTOCOLS: dict[str, tuple[str, Template]] = {
    "Label budgets": ("Performance against label budget", {"budget": "20, 50, 100, 250, 500, all", "seeds": 5}),
    "Few-shot": ("Performance with few labels", {"budget": "10, 20, 40", "seeds": 10}),
    "Encoders": ("Which encoder is best?", {"seeds": 5, "model": ["linear_probe"]}),
    "Label sources": ("Which label source is best?", {"seeds": 5}),
    "Probe or MLP": ("Does an MLP beat a linear probe?", {"seeds": 5, "model": ["linear_probe", "mlp_visual"]}),
    "K-fold": ("Performance without a fixed test set", {"seeds": 3, "folds": 5}),
}
_DEFAULT: dict[str, Any] = {
    "budget": "",
    "seeds": 5,
    "model": ["mlp_visual"],
    "folds": 0,
    "encoder": [],
    "source": [],
    "keys": [],
}
_PLAIN = ("budget", "seeds", "model", "folds")
_KEEP: dict[str, Any] = {"persist_state": "session"}
WORKERS = "study.workers"
_LAST_RUNS = 40  # of these the estimate takes the pace


def draw() -> Study | None:
    """Draw the form; return the study when *Start* is pressed."""
    _protocols()
    _axes()
    try:
        study = _study()
        configs = [config for _, config in study.configs()]
    except CtbenchError as error:
        show_error("Invalid value in the grid", str(error))
        return None
    count = plural(len(configs), "run")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        pressed = st.button(f"Start {count}", type="primary", icon=":material/play_arrow:", key="study-start")
        workers.draw_field(WORKERS)
        st.markdown(" · ".join([f"**= {count}**", *_estimate(len(configs)), describe_tests(configs)]))
    st.caption("All other settings are those of Data and Train. Each evaluation on test is logged.")
    with st.expander("Equivalent YAML and command", icon=":material/terminal:"):
        st.code(dump_yaml(study.to_dict()), language=None)
        asked = int(st.session_state.get(WORKERS) or 1)
        command = f"{program()} study study.yaml" + (f" --workers {asked}" if asked > 1 else "")
        st.code(command, language=None, wrap_lines=True)
    return study if pressed else None


def _protocols() -> None:
    with st.container(border=True, key="study-protocols"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.markdown("**Protocol**", width="content")
            templates_box.draw(_present, _apply)
        for column, (name, (question, _)) in zip(st.columns(len(PROTOCOLS)), PROTOCOLS.items()):
            chosen = st.session_state.get("study.protocol") == name
            column.button(
                name,
                key=f"protocol-{name}",
                width="stretch",
                on_click=_apply,
                args=(name, PROTOCOLS[name][1]),
                icon=":material/check:" if chosen else None,
            )
            column.caption(question)


def _apply(name: str, fields: Template) -> None:
    """Set the fields of a protocol or template; those that it does not name get their defaults."""
    values: dict[str, Any] = {**_DEFAULT, **fields}
    st.session_state["study.protocol"] = name
    st.session_state["study.name"] = name.lower()
    for field in _PLAIN:
        st.session_state[f"study.{field}"] = values[field]
    st.session_state["study.model"] = [head for head in values["model"] if head in _heads()]
    folder_axis.write("encoder", values["encoder"])
    folder_axis.write("source", values["source"])
    key_axes.write(values["keys"])


def _present() -> Template:
    """Return the fields as a template.

    Raises:
        ConfigError: typed values cannot be read.
    """
    state = st.session_state
    return {
        "budget": str(state["study.budget"]),
        "seeds": int(state["study.seeds"]),
        "folds": int(state["study.folds"]),
        "model": list(state["study.model"]),
        "encoder": folder_axis.read("encoder"),
        "source": folder_axis.read("source"),
        "keys": list(key_axes.read().items()),
    }


def _axes() -> None:
    """Draw the axes of the grid."""
    for field in _PLAIN:
        st.session_state.setdefault(f"study.{field}", _DEFAULT[field])
    st.session_state.setdefault("study.name", "my study")
    name, budget, seeds, heads, folds = st.columns([3, 3, 2, 4, 2], gap="small")
    help_ = "Folder in the run store. The name of an existing study extends it."
    name.text_input("Name", key="study.name", help=help_, **_KEEP)
    unit = KEYS["data.budget_unit"].default
    help_ = f"Training and validation {unit}s together: 20, 50, all."
    budget.text_input("Budgets", key="study.budget", placeholder="all labels", help=help_, **_KEEP)
    help_ = "Runs per recipe, with seeds 1, 2, …; each seed draws its own patients."
    seeds.number_input("Seeds", 1, 1000, key="study.seeds", help=help_, **_KEEP)
    heads.multiselect("Heads", _heads(), key="study.model", format_func=partial(label_title, GROUP), **_KEEP)
    help_ = "K of a patient-grouped K-fold. 0: the fixed test set."
    folds.number_input("Folds", 0, 50, key="study.folds", help=help_, **_KEEP)
    root = form.outputs_root()
    folder_axis.draw("encoder", "Encoder", "Feature root", folders.feature_roots(root))
    folder_axis.draw("source", "Label source", "Manifest folder", folders.manifest_folders(root))
    key_axes.draw()


def _heads() -> list[str]:
    """Return one name for every head, as ``model=<name>`` takes it."""
    names: dict[str, str] = {}
    for name, keys in model_groups().items():
        names.setdefault(keys["model._target_"], name)
    return list(names.values())


def _study() -> Study:
    """Return the study that the fields describe.

    Raises:
        CtbenchError: a value does not fit.
    """
    state = st.session_state
    own = (AXES["seed"], AXES["budget"])  # fields of this form
    base = {key: value for key, value in shared_keys(form.config()).items() if key not in own}
    grid: dict[str, Any] = {}
    if budgets := key_axes.parse_values(state["study.budget"]):
        grid["budget"] = budgets
    grid["utils.seed"] = list(range(1, int(state["study.seeds"]) + 1))
    if state["study.model"]:
        grid["model"] = list(state["study.model"])
        kept = ("model.params.", "model.inputs")
        base = {k: v for k, v in base.items() if not k.startswith("model.") or k.startswith(kept)}
    for axis in ("encoder", "source"):
        if rows := folder_axis.read(axis):
            grid[axis] = dict(rows)
            base.pop(AXES[axis], None)
    for key, values in key_axes.read().items():
        grid[key] = values
        base.pop(key, None)
    folds = int(state["study.folds"])
    protocol = {"kfold": folds} if folds else None
    return parse_study({"name": state["study.name"], "base": base, "grid": grid, "protocol": protocol})


def _estimate(runs: int) -> list[str]:
    """Write how long so many runs take, from the last runs of this store; empty without any."""
    rows = [row for row in cache.run_rows(str(form.outputs_root())) if row["seconds"] and row["state"] == "finished"]
    if not (last := rows[:_LAST_RUNS]):
        return []
    seconds = runs * (seconds_per_run([(row["updated"], row["seconds"]) for row in last]) or 0.0)
    return [
        f"about {format_time_span(max(1.0, seconds))} on this machine, at the pace of the last {plural(len(last), 'run')}"
    ]


def describe_tests(configs: Sequence[Config]) -> str:
    """Write how often test sets are evaluated by the runs of a study, and their held-out folds."""
    # Most runs have the same tests: their files are looked for once.
    alike: dict[str, list[Config]] = {}
    for config in configs:
        places = (
            config.paths.manifest_dir,
            config.data.reference,
            config.data.train_manifest,
            config.data.columns.split,
        )
        folds = config.data.kfold
        alike.setdefault(repr((places, config.data.test_manifests, folds.folds, folds.fold)), []).append(config)
    tests = sum(len(group) * len(list_test_sets(group[0], files_only=True)) for group in alike.values())
    text = f"**{plural(tests, 'evaluation')}** on test" if tests else "no evaluation on test"
    held_out = sum(config.data.kfold.folds is not None for config in configs)
    return f"{text}, {plural(held_out, 'evaluation')} on held-out folds" if held_out else text
