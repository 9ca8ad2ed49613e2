"""The sections of the Train form, and what can be told of a run before it starts.

MERGED: Starting points for the Train form: what a newcomer would otherwise have to look up.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from ctbench_core.config import KEYS, Config, set_key
from ctbench_core.errors import CtbenchError
from ctbench_core.label_leakage import encoder_name
from ctbench_ui import form
from ctbench_ui.pages import page
from ctbench_ui.shared import cache
from ctbench_ui.shared.style import duration

_RUNS_OF_ESTIMATE = 5
# What a kind of head has to itself: key, label, options of the field.
_OF_HEAD: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    "mlp": {
        "model.params.hidden_dims": ("Hidden widths", {"placeholder": "1024, 512"}),
        "model.params.dropout": ("Dropout", {"step": 0.05}),
    },
    "logistic": {"model.params.c": ("C, the best is kept", {})},
    "knn": {"model.params.k": ("Neighbours, the best is kept", {})},
    "zero_shot": {"model.prompts": ("File of prompt embeddings", {"placeholder": "prompts.npz"})},
}
_TITLES = {"torch.nn.BCEWithLogitsLoss": "BCE", "mlp": "MLP", "knn": "kNN"}


def _title(name: str) -> str:
    return _TITLES.get(name, name.replace("_", " "))


def _losses() -> list[str]:
    """Return the registered losses; the default one goes by the name that older trees give it."""
    from ctbench_core.declared import LOSS_ALIASES, LOSSES

    default = KEYS["training.loss._target_"].default
    return [default, *(name for name in LOSSES if name != LOSS_ALIASES.get(default, default))]


def _heads() -> list[str]:
    """Return the registered heads, and call the chosen one by its registered name: older runs may use another."""
    from ctbench_core.declared import HEAD_ALIASES, HEADS

    chosen = st.session_state.get("model._target_", "mlp")
    name = HEAD_ALIASES.get(chosen, chosen)
    st.session_state["model._target_"] = name if name in HEADS else "mlp"
    return list(HEADS)


def preset_menu(known: Mapping[str, Mapping[str, Any]]) -> None:
    """Offer starting points; choosing one sets its keys and leaves the others."""
    st.menu_button(
        "Presets", list(known), key="train.preset", icon=":material/bookmark:", on_click=_apply, args=(known,)
    )


def _apply(known: Mapping[str, Mapping[str, Any]]) -> None:
    chosen = str(st.session_state.get("train.preset"))
    if chosen in known:
        values = Config()
        for key, value in known[chosen].items():
            set_key(values, key, value)
        form.fill(values, known[chosen].__contains__)


def what(found: dict[str, Any] | None) -> None:
    """Draw what is learned: data set, findings, inputs."""
    st.subheader("What", anchor=False)
    name = form.dataset_name() or (found["name"] if found else "no data")
    st.page_link(page("data"), label=f"**{name}** · change", icon=":material/database:")
    labels = found["all_labels"] if found else []
    named = findings(labels)
    chosen = st.session_state.get("training.target_labels") or []
    st.session_state["train.findings"] = next((name for name, those in named.items() if those == chosen), None)
    st.pills(
        "Findings",
        list(named),
        key="train.findings",
        on_change=_pick_findings,
        args=(named,),
        help="A named choice of findings.",
    )
    form.choices(
        "training.target_labels",
        "Findings to learn",
        labels,
        placeholder=f"All {len(labels)}",
        label_visibility="collapsed",
    )
    form.field("model.inputs", "Inputs")


def _pick_findings(named: Mapping[str, list[str]]) -> None:
    chosen = str(st.session_state.get("train.findings"))
    if chosen in named:
        st.session_state["training.target_labels"] = list(named[chosen])


def head(found: dict[str, Any] | None) -> None:
    """Draw the head: kind, widths, dropout, and its number of parameters."""
    st.subheader("Head", anchor=False)
    known = _heads()
    kind = st.selectbox(
        "Kind",
        known,
        key="model._target_",
        format_func=_title,
        persist_state="session",
        help="A linear probe shows what the embedding holds; an MLP what it can be made to give.",
    )
    _of_head(str(kind))
    name, parameters = st.columns([3, 2])
    with name:
        form.field("logging.run_name", "Name of the run", placeholder="from the settings")
    parameters.metric("Parameters", _parameters(found), help="Weights and biases that the head learns.")


def _of_head(kind: str) -> None:
    """Draw the settings that only this kind of head, or these inputs, have."""
    fields = dict(_OF_HEAD.get(kind, {}))
    if st.session_state.get("model.inputs") == "gated":
        fields["model.params.gate"] = ("Gate", {})
    if fields:
        for column, (key, (label, options)) in zip(st.columns(len(fields)), fields.items()):
            with column:
                form.field(key, label, **options)


def _parameters(found: dict[str, Any] | None) -> str:
    from ctbench_core.train.heads import parameter_count

    if not found or not found["dim"]:
        return "–"
    try:
        config = form.config()
        classes = len(config.training.target_labels or found["labels"])
        return f"{parameter_count(config.model, found['dim'], classes):,}"
    except CtbenchError:
        return "–"


def _is_fitted() -> bool:
    """Whether the chosen head is fitted whole, so that nothing of the steps applies to it."""
    from ctbench_core.declared import STEPWISE

    return st.session_state["model._target_"] not in STEPWISE


def how() -> None:
    """Draw how it is trained."""
    st.subheader("How", anchor=False)
    fitted = _is_fitted()
    left, right = st.columns(2)
    with left:
        form.field("training.learning_rate", "Learning rate", step=1e-4, disabled=fitted)
        form.field("training.max_epochs", "Epochs, at most", step=10, disabled=fitted)
        form.choice("training.loss._target_", "Loss", _losses(), format_func=_title, disabled=fitted)
    with right:
        form.field("training.batch_size", "Batch size", step=32, disabled=fitted)
        form.field("training.early_stopping_patience", "Patience", disabled=fitted)
        form.field("utils.seed", "Seed")
    if fitted:
        st.caption("This head is fitted whole, once for each candidate; the best on validation is kept.")


def advanced() -> None:
    """Draw the settings that most runs leave alone."""
    with st.expander("Advanced", icon=":material/tune:", key="train.advanced", on_change="rerun") as box:
        if not box.open:
            return
        first, second, third = st.columns(3, gap="large")
        with first:
            form.field("training.optimizer", "Optimiser")
            form.field("training.weight_decay", "Weight decay", step=1e-4)
        with second:
            form.field("training.scheduler", "Schedule")
            form.field("training.warmup_epochs", "Warm-up epochs")
            form.field("training.monitor", "Stops on")
        with third:
            form.field("training.precision", "Arithmetic")
            form.field("training.loss.pos_weight", "Weight of positives")
            form.field("utils.device", "Device")


def estimate(config: Config | None) -> str:
    """Tell how long the run may take, from earlier runs on the same features; empty without any."""
    if config is None:
        return ""
    rows = [
        row
        for row in cache.run_rows(str(form.outputs_root()))
        if row["encoder"] == encoder_name(config) and row["seconds"] and row["state"] == "finished"
    ]
    head = config.model._target_
    alike = [row for row in rows if row["head"].startswith(head) and row["inputs"] == config.model.inputs]
    used = (alike or rows)[:_RUNS_OF_ESTIMATE]
    return expected_time(used, config.training.max_epochs, head if alike else "")


def expected_time(rows: Sequence[Mapping[str, Any]], max_epochs: int, head: str = "") -> str:
    """Write the time that runs of so many epochs took: the median second an epoch, and as many epochs as they ran.

    Args:
        rows: rows of `cache.run_row` with ``seconds`` and ``epoch``.
    """
    if not rows:
        return ""
    pace = statistics.median(row["seconds"] / max(1, row["epoch"]) for row in rows)
    epochs = min(max_epochs, round(statistics.median(row["epoch"] for row in rows)))
    runs = f"the last {len(rows)}" if len(rows) > 1 else "the last"
    noun = f"{_title(head)} run".strip() + ("s" if len(rows) > 1 else "")
    return f"About {duration(max(1, pace * epochs))}: {runs} {noun} on these features stopped after {epochs:,} epochs."


# The five findings of the published label study on CT-CLIP features (data/reference/published_results.csv).
LABEL_STUDY = (
    "Arterial wall calcification",
    "Lymphadenopathy",
    "Lung nodule",
    "Lung opacity",
    "Pulmonary fibrotic sequela",
)

# name -> config keys and their values; every other key keeps what the user has set.
HEADS = {
    "Linear probe": {"model._target_": "linear", "training.learning_rate": 1e-3, "training.max_epochs": 500},
    "MLP 1024": {"model._target_": "mlp", "model.params.hidden_dims": [1024], "training.learning_rate": 1e-4},
    "MLP 512-256, fast": {
        "model._target_": "mlp",
        "model.params.hidden_dims": [512, 256],
        "training.learning_rate": 1e-3,
        "training.max_epochs": 200,
    },
}


def findings(labels: Sequence[str]) -> dict[str, list[str]]:
    """Return the named choices of findings that a data set allows; an empty choice means all."""
    found: dict[str, list[str]] = {f"All {len(labels)}": []}
    if set(LABEL_STUDY) <= set(labels):
        found["5 of the label study"] = list(LABEL_STUDY)
    return found
