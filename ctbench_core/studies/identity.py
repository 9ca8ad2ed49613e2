"""Run ids of studies: they depend on the resolved config alone, so that a run is known wherever it was made."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ctbench_core.atomic import dump_json
from ctbench_core.config import Config, changed_keys

# Keys that change neither the data, the training nor what is evaluated: places, names, machine, trackers.
_PLACES = ("paths.data_root", "paths.manifest_dir")
_NOT_PART = (
    "job_name",
    "logging.",
    "analysis.",
    "optuna.",
    "training.resume.",
    "training.num_workers",
    "data.preload_features",
    "model.model_name",
    "utils.device",
    "evaluation.detail",
)


def identity(config: Config) -> dict[str, Any]:
    """Return the changed keys that a run's outcome depends on, sorted."""
    return {key: value for key, value in sorted(changed_keys(config).items()) if _is_part(key)}


def _is_part(key: str) -> bool:
    return key in _PLACES if key.startswith("paths.") else not key.startswith(_NOT_PART)


def run_id(config: Config) -> str:
    """Return the id of a study's run: head, seed and the hash of the resolved config, as ``mlp-s1-3f9a1c0b52de``."""
    digest = hashlib.blake2b(dump_json(identity(config)).encode("utf-8"), digest_size=6).hexdigest()
    head = "".join(
        letter for letter in config.model._target_.rsplit(".", 1)[-1].lower() if letter.isalnum() or letter == "_"
    )
    return f"{head}-s{config.utils.seed}-{digest}"


def same_run(first: Config, second: Config) -> bool:
    """Whether two configs describe the same run."""
    return json.loads(dump_json(identity(first))) == json.loads(dump_json(identity(second)))
