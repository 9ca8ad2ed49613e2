"""Benchmark heads trained on pre-computed embeddings of medical images."""

from __future__ import annotations

import importlib
import os
from typing import Any

# Idle tensor threads must sleep, not spin: two trainings on two cores took 4.3 s each this way and 19 s spinning; one
# alone took the same either way. The OpenMP runtimes read these variables when torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# GNU OpenMP may spin for about 33 us before it sleeps; the gaps between the products of a step are shorter. Two
# trainings at a time take a third longer with 6,000, and twice as long with 12,000 (`benchmarks/README.md`).
os.environ.setdefault("GOMP_SPINCOUNT", "3000")
os.environ.setdefault("KMP_BLOCKTIME", "0")

__version__ = "0.2.0"

# Public name -> module, loaded on first use, so that `import ctbench_core` needs no torch.
_PUBLIC = {
    "Config": "config",
    "CtbenchError": "errors",
    "InputError": "errors",
    "Manifest": "manifest",
    "RunStore": "runs",
    "align": "alignment",
    "check": "checks",
    "evaluate_run": "evaluate",
    "load_features": "features",
    "open_run": "runs",
    "read_manifest": "manifest",
    "run_alignment": "alignment",
    "run_experiment": "experiment",
    "write_demo": "demo",
}

__all__ = ["__version__", *sorted(_PUBLIC)]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return __all__
