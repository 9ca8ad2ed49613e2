"""Find the config keys that make two runs repeats of one recipe: all but seed, fold, places and what follows training."""

from __future__ import annotations

from typing import Any

from ctbench_core.config import Config, changed_keys

# Repeats (seed, fold), names, and what happens after training.
_EXCLUDED = (
    "utils.",
    "logging.",
    "evaluation.",
    "analysis.",
    "optuna.",
    "training.resume.",
    "training.num_workers",
    "data.test_manifests",
    "data.preload_features",
    "data.budget_seed",
    "data.label_origin",
    "data.encoder.",
    "model.model_name",
    "job_name",
)
_INPUT_PATHS = ("paths.data_root", "paths.manifest_dir")


def recipe_of(config: Config) -> dict[str, Any]:
    """Return the keys, changed from their defaults, that all runs of one recipe share."""
    keys = changed_keys_without(config, _EXCLUDED)
    return {key: value for key, value in keys.items() if key != "data.kfold.fold"}


def changed_keys_without(config: Config, excluded: tuple[str, ...]) -> dict[str, Any]:
    """Return the changed keys, without those that begin with an excluded text, and of the paths those of the input."""
    return {
        key: value
        for key, value in changed_keys(config).items()
        if (key in _INPUT_PATHS if key.startswith("paths.") else not key.startswith(excluded))
    }
