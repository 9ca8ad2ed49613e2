"""What a label budget leaves for choosing the best epoch, told on Train before a run starts."""

from __future__ import annotations

import json

import streamlit as st

from ctbench_core.config import Config, from_mapping
from ctbench_core.dataset import make_splits, manifest_path
from ctbench_core.errors import CtbenchError
from ctbench_core.formatting import plural
from ctbench_core.manifest import uncovered, units_of
from ctbench_ui import form
from ctbench_ui.shared import cache


def draw(config: Config | None) -> None:
    """Say how many findings the validation rows of a budget can judge; offer the loss where they are none."""
    if config is None or config.data.budget is None:
        return
    try:
        manifests = [
            cache.stamp(manifest_path(config, name)) for name in (config.data.train_manifest, config.data.val_manifest)
        ]
        found = outlook(json.dumps(config.to_dict(), default=str), repr(manifests))
    except CtbenchError:
        return  # what is wrong with the data or the budget is told by the form, or when the run starts
    held = plural(found["val"], config.data.budget_unit)
    sizes = f"Budget {config.data.budget}: {found['train']} to learn from, {held} to choose the epoch by."
    if found["judged"] == found["findings"]:
        st.caption(sizes)
    elif found["judged"] or config.training.monitor == "loss":
        st.caption(
            f"{sizes} Those show both classes of {found['judged']} of {plural(found['findings'], 'finding')}; the others "
            "have no validation figure."
        )
    else:
        st.warning(
            f"{sizes} Those show one class only of every finding, so AUPRC, AUROC and F1 say nothing of them and the run "
            "would end at its first epoch. Take a larger budget or validation share (Data), or choose the epoch by the loss.",
            icon=":material/balance:",
        )
        st.button("Choose by the loss", key="monitor-loss", on_click=form.take, args=({"training.monitor": "loss"},))


@st.cache_data(max_entries=16, show_spinner=False)
def outlook(config: str, at: str) -> dict[str, int]:
    """Return the units on both sides of a budget, and how many findings the validation side shows both classes of.

    Args:
        config: the config as JSON; at: tells whether a manifest has changed.

    Raises:
        InputError: a manifest or the budget is at fault.
    """
    asked = from_mapping(json.loads(config))[0]
    unit = asked.data.budget_unit
    splits = make_splits(asked)
    sides = {"train": splits.train, "val": splits.val}
    counts: dict[str, int] = {name: len(set(units_of(side, unit))) for name, side in sides.items()}
    labels = splits.val.labels
    return counts | {"findings": len(labels), "judged": len(labels) - len(uncovered(splits.val))}
