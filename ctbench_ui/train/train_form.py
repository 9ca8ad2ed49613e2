"""The sections of the Train form, its presets, and the expected time of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from ctbench_core.config import KEYS, Config, set_key
from ctbench_core.declared import HEADS, LOSSES, Head
from ctbench_core.errors import CtbenchError
from ctbench_core.formatting import format_time_span, plural
from ctbench_core.runs import ExpectedTime, expected_time
from ctbench_ui import form
from ctbench_ui.pages import page
from ctbench_ui.shared import as_text, cache

HEAD, LOSS = "model._target_", "training.loss._target_"
_COLUMNS = 3
_OTHERS = (
    ("Advanced", ":material/tune:", ("training.", "model.", "utils.")),
    ("Tracking and evaluation", ":material/monitoring:", ("logging.", "evaluation.")),
)
# What the Training section shows, in two columns; `draw_advanced` shows every other key.
_TRAINING = (
    ("training.learning_rate", "training.max_epochs", LOSS),
    ("training.batch_size", "training.early_stopping_patience", "utils.seed"),
)
# name -> config keys and their values; every other key keeps what the user has set.
_PRESETS: dict[str, dict[str, Any]] = {
    "Linear probe": {"model._target_": "linear", **HEADS["linear"].defaults},
    "MLP 1024": {"model._target_": "mlp", "model.params.hidden_dims": [1024], "training.learning_rate": 1e-4},
    "MLP 512-256, fast": {
        "model._target_": "mlp",
        "model.params.hidden_dims": [512, 256],
        "training.learning_rate": 1e-3,
        "training.max_epochs": 200,
    },
}
# The five findings of the published label study on CT-CLIP features (data/reference/published_results.csv).
_LABEL_STUDY = (
    "Arterial wall calcification",
    "Lymphadenopathy",
    "Lung nodule",
    "Lung opacity",
    "Pulmonary fibrotic sequela",
)


def draw_presets() -> None:
    """Offer presets; choosing one sets its keys and leaves the others."""
    st.menu_button("Presets", list(_PRESETS), key="train.preset", icon=":material/bookmark:", on_click=_apply_preset)


def _apply_preset() -> None:
    preset = _PRESETS.get(str(st.session_state.get("train.preset")), {})
    values = Config()
    for key, value in preset.items():
        set_key(values, key, value)
    form.fill(values, preset.__contains__)
    form.apply_head_defaults()


def draw_inputs(data: dict[str, Any] | None) -> None:
    """Draw the data set, the findings and the inputs."""
    st.header("Data and inputs", anchor=False)
    name = form.dataset_name() or (data["name"] if data else "no data")
    st.page_link(page("data"), label=f"**{as_text(name)}** · change", icon=":material/database:")
    labels = data["all_labels"] if data else []
    choices = _finding_choices(labels)
    chosen = st.session_state.get("training.target_labels") or []
    st.session_state["train.findings"] = next((name for name, those in choices.items() if those == chosen), None)
    st.pills("Findings", list(choices), key="train.findings", on_change=_pick_findings, args=(choices,))
    form.choices_field(
        "training.target_labels",
        "Chosen findings",
        labels,
        placeholder=f"All {len(labels)}",
        label_visibility="collapsed",
    )
    form.field("model.inputs")


def _finding_choices(labels: Sequence[str]) -> dict[str, list[str]]:
    """Return the named choices of findings of a data set; an empty choice means all."""
    study = {"5 findings (label study)": list(_LABEL_STUDY)} if set(_LABEL_STUDY) <= set(labels) else {}
    return {f"All {len(labels)}": [], **study}


def _pick_findings(choices: Mapping[str, list[str]]) -> None:
    chosen = str(st.session_state.get("train.findings"))
    if chosen in choices:
        st.session_state["training.target_labels"] = list(choices[chosen])


def draw_head(data: dict[str, Any] | None) -> None:
    """Draw the head, the fields that it declares, and its number of parameters."""
    st.header("Head", anchor=False)
    st.session_state[HEAD] = HEADS.canonical(st.session_state.get(HEAD, KEYS[HEAD].default))
    form.choice_field(
        HEAD,
        "Kind",
        list(HEADS),
        format_func=lambda name: form.title_of(KEYS[HEAD], name),
        help="A linear probe measures what the embedding separates linearly. An MLP can also use nonlinear structure.",
        on_change=form.apply_head_defaults,
    )
    _draw_fields(_head_keys())
    st.metric("Parameters", _parameters(data), help="Weights and biases that the head learns.")


def chosen_head() -> Head | None:
    """Return the head of the form; None when its name is not registered."""
    return HEADS.get(HEADS.canonical(st.session_state[HEAD]))


def _head_keys() -> list[str]:
    head = chosen_head()
    if head is None:
        return []
    gated = st.session_state.get("model.inputs") == "gated" and head.learns_gate
    return [*head.own_keys, *(["model.params.gate"] if gated else [])]


def _loss_keys() -> list[str]:
    loss = LOSSES.get(LOSSES.canonical(st.session_state[LOSS]))
    return [f"training.loss.{name}" for name in loss.parameters] if loss else []


def _draw_fields(keys: Sequence[str], columns: int = 2, **options: Any) -> None:
    """Draw fields row by row, so that they stand in lines and follow each other on a narrow screen."""
    for start in range(0, len(keys), columns):
        for column, key in zip(st.columns(columns), keys[start : start + columns]):
            with column:
                form.field(key, **options)


def _parameters(data: dict[str, Any] | None) -> str:
    from ctbench_core.train.planning import parameter_count

    if not data or not data["dim"]:
        return "–"
    try:
        config = form.config()
        outputs = len(config.training.target_labels or data["labels"])
        return f"{parameter_count(config.model, data['dim'], outputs):,}"
    except CtbenchError:
        return "–"


def draw_training() -> None:
    """Draw the settings of training; a head that is fitted whole uses none but the seed."""
    st.header("Training", anchor=False)
    head = chosen_head()
    whole = head is not None and not head.stepwise
    for column, keys in zip(st.columns(2), _TRAINING):
        with column:
            for key in keys:
                if key == LOSS:
                    _draw_loss(whole)
                else:
                    form.field(key, disabled=whole and key != "utils.seed")
    if whole:
        st.caption("This head is fitted once per candidate value; the best on validation is kept.")
    else:
        _draw_fields(_loss_keys())


def _draw_loss(whole: bool) -> None:
    """Draw the loss; one that the head refuses can be changed, whatever the head."""
    default = KEYS[LOSS].default
    chosen = LOSSES.canonical(st.session_state.get(LOSS, default))
    is_default = chosen == LOSSES.canonical(default)
    st.session_state[LOSS] = default if is_default else chosen
    names = [default, *(name for name in LOSSES if name != LOSSES.canonical(default))]
    title = lambda name: form.title_of(KEYS[LOSS], name)  # noqa: E731
    form.choice_field(LOSS, KEYS[LOSS].label, names, format_func=title, disabled=whole and is_default)


def draw_advanced() -> None:
    """Draw the settings that most runs leave alone: every key that no other section and no other page has."""
    drawn = {*(key for keys in _TRAINING for key in keys), *_head_keys(), *_loss_keys()}
    own = {key for head in HEADS.values() for key in head.own_keys if key.startswith("model.")}
    own |= {f"training.loss.{name}" for loss in LOSSES.values() for name in loss.parameters}
    own |= {HEAD, "model.inputs", "model.params.gate", "training.target_labels", "logging.run_name"}
    keys = [name for name, info in KEYS.items() if name not in drawn | own and not info.command_line_only]
    for title, icon, prefixes in _OTHERS:
        with st.expander(title, icon=icon, key=f"train.{title.split()[0].lower()}", on_change="rerun") as expander:
            if expander.open:
                _draw_fields([key for key in keys if key.startswith(prefixes)], _COLUMNS)


def estimate(config: Config) -> str:
    """Write how long the run may take, from earlier runs on the same features on this machine; empty without any."""
    expected = expected_time(config, cache.run_rows(str(form.outputs_root())))
    return describe_time(expected, config.model._target_) if expected else ""


def describe_time(expected: ExpectedTime, head: str) -> str:
    """Write an expected time: ``Up to 7 min; about 3 s if it stops after 38 epochs, like the last 5 MLP runs ...``."""
    noun = f"{HEADS[head].title} run" if expected.is_of_head and head in HEADS else "run"
    runs = f"the last {plural(expected.runs, noun) if expected.runs > 1 else noun} on these features"
    longest = f"Up to {format_time_span(max(1, expected.longest))}"
    if expected.seconds >= expected.longest:
        return f"{longest}, at the pace of {runs}."
    stops = f"about {format_time_span(max(1, expected.seconds))} if it stops after {plural(expected.epochs, 'epoch')}"
    return f"{longest}; {stops}, like {runs}."
