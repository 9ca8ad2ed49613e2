"""Record what a run was made with: versions, device, seed, digests, counts."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import subprocess
from typing import Any

from ctbench_core.config import Config
from ctbench_core.dataset import Dataset
from ctbench_core.installation import source_tree, version
from ctbench_core.label_leakage import data_card

PACKAGES = ("torch", "numpy", "pandas", "scikit-learn", "pyarrow")


def provenance(config: Config, dataset: Dataset, device: str) -> dict[str, Any]:
    """Return the content of ``provenance.json``."""
    import torch

    return {
        "ctbench": version(),
        "git_commit": _git_commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _package_version(name) for name in PACKAGES},
        "device": device,
        "threads": torch.get_num_threads(),
        "seeds": {"utils.seed": config.utils.seed},
        "inputs": dataset.digests,
        "features": {"shape": list(dataset.matrix.shape)},
        "manifests": {
            name: {
                "file": manifest.place,
                "sha256": manifest.digest,
                **manifest.counts(),
                "prevalence": manifest.prevalence(),
            }
            | ({"label_mapping": manifest.label_mapping} if manifest.label_mapping else {})
            for name, manifest in dataset.manifests.items()
        },
        "data_card": data_card(config),
        "dropped": dataset.dropped,
        "leaks": dataset.leaks,
        "warnings": dataset.warnings,
        "notes": dataset.notes,
    }


@functools.cache
def _package_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


@functools.cache
def _git_commit() -> str | None:
    """Return the commit of the source tree, if it is a git checkout."""
    root = source_tree()
    if root is None or not (root / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(root), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
