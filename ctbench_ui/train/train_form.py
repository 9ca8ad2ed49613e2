"""The sections of the Train form, its presets, and the expected time of a run."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from ctbench_core.config import KEYS, Config, set_key
from ctbench_core.declared import HEAD_ALIASES, HEADS, LOSS_ALIASES, LOSSES, STEPWISE, metric_title
from ctbench_core.errors import CtbenchError
from ctbench_core.formatting import plural
from ctbench_core.label_leakage import encoder_name
from ctbench_ui import form
from ctbench_ui.pages import page
from ctbench_ui.shared import cache, duration

_RUNS_OF_ESTIMATE = 5
# The fields that only one kind of head has: key, label, options.
_HEAD_FIELDS: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    "mlp": {
        "model.params.hidden_dims": ("Hidden widths", {"placeholder": "1024, 512"}),
        "model.params.dropout": ("Dropout", {"step": 0.05}),
    },
    "logistic": {"model.params.c": ("Candidates for C", {})},
    "knn": {"model.params.k": ("Candidates for k", {})},
    "zero_shot": {"model.prompts": ("Prompt embeddings", {"placeholder": "prompts.npz"})},
}
# name -> config keys and their values; every other key keeps what the user has set.
_PRESETS: dict[str, dict[str, Any]] = {
    "Linear probe": {"model._target_": "linear", "training.learning_rate": 1e-3, "training.max_epochs": 500},
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


def draw_inputs(data: dict[str, Any] | None) -> None:
    """Draw the data set, the findings and the inputs."""
    st.subheader("Data and inputs", anchor=False)
    name = form.dataset_name() or (data["name"] if data else "no data")
    st.page_link(page("data"), label=f"**{name}** · change", icon=":material/database:")
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
    form.field("model.inputs", "Inputs")


def _finding_choices(labels: Sequence[str]) -> dict[str, list[str]]:
    """Return the named choices of findings of a data set; an empty choice means all."""
    study = {"5 of the label study": list(_LABEL_STUDY)} if set(_LABEL_STUDY) <= set(labels) else {}
    return {f"All {len(labels)}": [], **study}


def _pick_findings(choices: Mapping[str, list[str]]) -> None:
    chosen = str(st.session_state.get("train.findings"))
    if chosen in choices:
        st.session_state["training.target_labels"] = list(choices[chosen])


def draw_head(data: dict[str, Any] | None) -> None:
    """Draw the head: kind, widths, dropout, and its number of parameters."""
    st.subheader("Head", anchor=False)
    kind = _head_name(st.session_state.get("model._target_", "mlp"))
    st.session_state["model._target_"] = kind if kind in HEADS else "mlp"
    kind = st.selectbox(
        "Kind",
        list(HEADS),
        key="model._target_",
        format_func=lambda name: HEADS[name].title,
        persist_state="session",
        help="A linear probe measures what the embedding separates linearly. An MLP can also use nonlinear structure.",
    )
    fields = dict(_HEAD_FIELDS.get(kind, {}))
    if st.session_state.get("model.inputs") == "gated":
        fields["model.params.gate"] = ("Gate", {})
    for column, (key, (label, options)) in zip(st.columns(max(1, len(fields))), fields.items()):
        with column:
            form.field(key, label, **options)
    name, parameters = st.columns([3, 2])
    with name:
        form.field("logging.run_name", "Run name", placeholder="automatic")
    parameters.metric("Parameters", _parameters(data), help="Weights and biases that the head learns.")


def _head_name(target: str) -> str:
    """Return the registered name of a head; older runs may use another."""
    return HEAD_ALIASES.get(target, target)


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
    st.subheader("Training", anchor=False)
    whole = st.session_state["model._target_"] not in STEPWISE
    left, right = st.columns(2)
    with left:
        form.field("training.learning_rate", "Learning rate", step=1e-4, disabled=whole)
        form.field("training.max_epochs", "Max epochs", step=10, disabled=whole)
        form.choice_field("training.loss._target_", "Loss", _losses(), format_func=_loss_title, disabled=whole)
    with right:
        form.field("training.batch_size", "Batch size", step=32, disabled=whole)
        form.field("training.early_stopping_patience", "Patience", disabled=whole)
        form.field("utils.seed", "Seed")
    if whole:
        st.caption("This head is fitted once per candidate value; the best on validation is kept.")


def _losses() -> list[str]:
    """Return the registered losses; the default one by the name that it has in configs."""
    default = KEYS["training.loss._target_"].default
    return [default, *(name for name in LOSSES if name != LOSS_ALIASES.get(default, default))]


def _loss_title(target: str) -> str:
    name = LOSS_ALIASES.get(target, target)
    return LOSSES.get(name, name)


def draw_advanced() -> None:
    """Draw the settings that most runs leave alone."""
    with st.expander("Advanced", icon=":material/tune:", key="train.advanced", on_change="rerun") as expander:
        if not expander.open:
            return
        first, second, third = st.columns(3, gap="large")
        with first:
            form.field("training.optimizer", "Optimiser")
            form.field("training.weight_decay", "Weight decay", step=1e-4)
        with second:
            form.field("training.scheduler", "Schedule")
            form.field("training.warmup_epochs", "Warm-up epochs")
            form.field("training.monitor", "Early-stopping metric", format_func=metric_title)
        with third:
            form.field("training.precision", "Precision")
            form.field("training.loss.pos_weight", "Positive-class weight")
            form.field("utils.device", "Device")


def estimate(config: Config) -> str:
    """Write how long the run may take, from earlier runs on the same features; empty without any."""
    rows = [
        row
        for row in cache.run_rows(str(form.outputs_root()))
        if row["encoder"] == encoder_name(config) and row["seconds"] and row["state"] == "finished"
    ]
    head = config.model._target_
    alike = [row for row in rows if row["head"].startswith(head) and row["inputs"] == config.model.inputs]
    return expected_time((alike or rows)[:_RUNS_OF_ESTIMATE], config.training.max_epochs, head if alike else "")


def expected_time(rows: Sequence[Mapping[str, Any]], max_epochs: int, head: str = "") -> str:
    """Write the time of a run at the median pace of earlier ones, for as many epochs as they ran.

    Args:
        rows: rows of `cache.run_row` with ``seconds`` and ``epoch``.
        head: the head of these runs; empty for several.
    """
    if not rows:
        return ""
    pace = statistics.median(row["seconds"] / max(1, row["epoch"]) for row in rows)
    epochs = min(max_epochs, round(statistics.median(row["epoch"] for row in rows)))
    noun = f"{HEADS[head].title} run" if head in HEADS else "run"
    runs = plural(len(rows), noun) if len(rows) > 1 else noun
    return (
        f"About {duration(max(1, pace * epochs))}: the last {runs} on these features stopped after {epochs:,} epochs."
    )
