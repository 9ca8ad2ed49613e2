"""What a label budget leaves for validation, shown on Train before a run starts."""

from __future__ import annotations

import json

import streamlit as st

from ctbench_core.config import Config, from_mapping
from ctbench_core.dataset import make_splits, manifest_path
from ctbench_core.errors import CtbenchError
from ctbench_core.formatting import plural
from ctbench_core.manifest import units_of
from ctbench_ui import form
from ctbench_ui.shared import cache


def draw_budget(config: Config | None) -> None:
    """Show the sizes of a budget and how many findings its validation rows can judge; offer the loss without any."""
    if config is None or config.data.budget is None:
        return
    try:
        stamps = [
            cache.stamp(manifest_path(config, name)) for name in (config.data.train_manifest, config.data.val_manifest)
        ]
        budget = measure_budget(json.dumps(config.to_dict(), default=str), repr(stamps))
    except CtbenchError:
        return  # the form shows an error of the data, the start of the run one of the budget
    total = plural(config.data.budget, config.data.budget_unit)
    sizes = f"Budget: {total} ({budget['train']:,} training, {budget['val']:,} validation)."
    if budget["unseen"]:
        sizes += f" {plural(budget['unseen'], 'finding')} without a positive in training cannot be learned."
    if budget["judged"] == budget["findings"]:
        st.caption(sizes)
    elif budget["judged"] or config.training.monitor == "loss":
        st.caption(
            f"{sizes} Validation has positives and negatives for {budget['judged']} of "
            f"{plural(budget['findings'], 'finding')}; the others have no validation metrics."
        )
    else:
        st.warning(
            f"{sizes} No finding has both positives and negatives in validation: AUPRC, AUROC and F1 are undefined, and the "
            "run stops at its first epoch. Choose a larger budget or validation share on Data, or stop early on the loss.",
            icon=":material/balance:",
        )
        st.button(
            "Stop early on the loss", key="monitor-loss", on_click=form.set_fields, args=({"training.monitor": "loss"},)
        )


@cache.remember(max_entries=16)
def measure_budget(config: str, at: str) -> dict[str, int]:
    """Return the units on both sides of a budget, and how many findings validation and training can judge and teach.

    ``judged`` findings have both classes in validation, ``unseen`` ones no positive in training.

    Args:
        config: the config as JSON.
        at: the stamps of the manifests, for the cache.

    Raises:
        InputError: a manifest or the budget is unusable.
    """
    parsed = from_mapping(json.loads(config))[0]
    splits = make_splits(parsed)
    sides = {"train": splits.train, "val": splits.val}
    counts: dict[str, int] = {name: len(set(units_of(side, parsed.data.budget_unit))) for name, side in sides.items()}
    labels = splits.val.labels
    unseen = sum(share == 0 for share in splits.train.prevalence().values())
    return counts | {
        "unseen": unseen,
        "findings": len(labels),
        "judged": len(labels) - len(splits.val.one_class_findings()),
    }
