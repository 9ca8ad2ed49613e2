"""What is known of a data set beside its numbers: where its labels come from, and what encoded it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ctbench_core.config import Config

LEAKAGE = "These scores measure label leakage, not diagnosis: the inputs are report texts, and the labels were derived from the reports."
POSSIBLE_LEAKAGE = (
    "The inputs are report texts. If the labels were derived from the reports, these scores measure label leakage, "
    "not diagnosis: say which in data.label_origin."
)
LEAKAGE_MARK = "text inputs: measures label leakage, not diagnosis"
POSSIBLE_LEAKAGE_MARK = "text inputs: may measure label leakage, not diagnosis"


def data_card(config: Config) -> dict[str, Any]:
    """Return label origin and encoder card, as kept in ``provenance.json``."""
    encoder = config.data.encoder
    return {
        "label_origin": config.data.label_origin,
        "encoder": {
            "name": encoder_name(config),
            "pretraining": encoder.pretraining,
            "projection": encoder.projection,
        },
    }


def encoder_name(config: Config) -> str:
    """Return the encoder's name: as given, else that of the feature root's folder, above a folder named features."""
    root = Path(config.paths.data_root)
    own = root.parent if root.name.lower() in ("features", "embeddings") and root.parent.name else root
    return config.data.encoder.name or own.name or str(root)


def leakage_mark(config: Config) -> str:
    """Return `leakage_banner` in a few words, for captions and columns."""
    banner = leakage_banner(config)
    return {LEAKAGE: LEAKAGE_MARK, POSSIBLE_LEAKAGE: POSSIBLE_LEAKAGE_MARK}.get(banner, "")


def relevance_mark(config: Config) -> str:
    """Return the words for hits by label among reports that the labels were, or may have been, derived from."""
    verb = {"report-derived": "come", "unknown": "may come"}.get(config.data.label_origin)
    return f"hits by label: labels {verb} from the reports themselves" if verb else ""


def leakage_banner(config: Config) -> str:
    """Return the words that stand over figures of text inputs against report-derived labels; empty where none apply."""
    if config.model.inputs == "visual" or config.data.label_origin == "manual":
        return ""
    return LEAKAGE if config.data.label_origin == "report-derived" else POSSIBLE_LEAKAGE
