"""Draw scores of models and of recipes, for tests of comparisons and their paper files."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ctbench_core.compare import ModelScores

MODEL_LABELS = ("Lung nodule", "50% & more_#1")
RECIPE_LABELS = ("Lung nodule", "Emphysema")


def model_scores(name: str, quality: float, rows: int = 240, seed: int = 0) -> ModelScores:
    """Draw a model of some quality, with two volumes a patient; labels are the same for all models."""
    truth, noise = np.random.default_rng(7), np.random.default_rng(seed)
    frame = pd.DataFrame({"volumename": [f"v_{i // 2}_a_{i % 2}" for i in range(rows)]})
    frame["exam"] = frame["patient"] = [f"v_{i // 2}" for i in range(rows)]
    for label in MODEL_LABELS:
        y = np.repeat(truth.random(rows // 2) < 0.3, 2)
        frame[f"target_{label}"] = pd.array(y.astype(int), dtype="Int8")
        frame[f"prob_{label}"] = 1 / (1 + np.exp(-(quality * y + np.repeat(noise.normal(size=rows // 2), 2))))
    return ModelScores(name, frame)


def recipe_scores(
    name: str, quality: float, count: int, noise: float = 0.3, cohort: int = 7, rows: int = 240
) -> dict[str, ModelScores]:
    """Draw a recipe by its seeds: they share a part of the score of each patient, the rest is each seed's own."""
    codes = np.arange(rows) // 2
    models = {}
    for seed in range(count):
        draw, frame = np.random.default_rng([cohort, seed, len(name)]), pd.DataFrame({"volumename": codes.astype(str)})
        frame["volumename"] = [f"v_{code}_a_{row % 2}" for row, code in enumerate(codes)]
        frame["exam"] = frame["patient"] = [f"v_{code}" for code in codes]
        shared = np.random.default_rng([cohort, 99, len(name)])
        for label in RECIPE_LABELS:
            y = (np.random.default_rng([cohort, len(label)]).random(rows // 2) < 0.35)[codes]
            score = shared.normal(size=rows // 2)[codes] + noise * draw.normal(size=rows // 2)[codes]
            frame[f"target_{label}"] = pd.array(y.astype(int), dtype="Int8")
            frame[f"prob_{label}"] = 1 / (1 + np.exp(-(quality * y + score)))
        models[str(seed)] = ModelScores(f"{name} {seed}", frame)
    return models
