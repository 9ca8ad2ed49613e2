"""Starting points for the Train form: what a newcomer would otherwise have to look up."""

from __future__ import annotations

from collections.abc import Sequence

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
