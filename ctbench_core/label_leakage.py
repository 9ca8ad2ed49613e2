"""Describe a data set's label origin and encoder, and mark scores that measure label leakage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ctbench_core.config import Config

LEAKAGE = "These scores measure label leakage, not diagnosis: the inputs are report texts, and the labels were derived from the reports."
POSSIBLE_LEAKAGE = (
    "The inputs are report texts. If the labels were derived from the reports, these scores measure label leakage, "
    "not diagnosis: say which in data.label_origin."
)
LEAKAGE_NOTE = "text inputs: measures label leakage, not diagnosis"
POSSIBLE_LEAKAGE_NOTE = "text inputs: may measure label leakage, not diagnosis"


def data_card(config: Config) -> dict[str, Any]:
    """Return label origin and encoder, as stored in ``provenance.json``."""
    card = config.data.encoder
    encoder = {"name": encoder_name(config), "pretraining": card.pretraining, "projection": card.projection}
    return {"label_origin": config.data.label_origin, "encoder": encoder}


def encoder_name(config: Config) -> str:
    """Return data.encoder.name, or else the feature root's folder name, above a folder named features."""
    root = Path(config.paths.data_root)
    folder = root.parent if root.name.lower() in ("features", "embeddings") and root.parent.name else root
    return config.data.encoder.name or folder.name or str(root)


def leakage_note(config: Config) -> str:
    """Return `leakage_banner` in a few words, for captions and columns."""
    return {LEAKAGE: LEAKAGE_NOTE, POSSIBLE_LEAKAGE: POSSIBLE_LEAKAGE_NOTE}.get(leakage_banner(config), "")


def relevance_note(config: Config) -> str:
    """Return a note on retrieval by label from the reports that the labels come, or may come, from."""
    verb = {"report-derived": "come", "unknown": "may come"}.get(config.data.label_origin)
    return f"hits by label: labels {verb} from the reports themselves" if verb else ""


def leakage_banner(config: Config) -> str:
    """Return the warning above metrics of text inputs and report-derived labels; empty where none applies."""
    if config.model.inputs == "visual" or config.data.label_origin == "manual":
        return ""
    return LEAKAGE if config.data.label_origin == "report-derived" else POSSIBLE_LEAKAGE
