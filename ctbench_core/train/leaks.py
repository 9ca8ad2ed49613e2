"""Patients on both sides of given manifests: found, named, and marked or refused."""

from __future__ import annotations

from ctbench_core.config import Config
from ctbench_core.errors import LeakError, first_rows
from ctbench_core.manifest import Manifest, shared_patients


def mark_leaks(config: Config, manifests: dict[str, Manifest]) -> tuple[dict[str, list[str]], list[str]]:
    """Find patients on both sides: validation against training, tests against both.

    Raises:
        LeakError: there are any, and ``data.on_leak`` is refuse.
    """
    leaks, warnings = {}, []
    for name, manifest in manifests.items():
        others = [
            manifests[o] for o in ("train", "val") if o in manifests and o != name and (o, name) != ("val", "train")
        ]
        shared = shared_patients(manifest, others) if name != "train" else []
        if shared:
            leaks[name] = shared
            warnings.append(
                f"Leak: {first_rows(shared, len(shared)).replace('row', 'patient')} of {manifest.name} also stand in "
                f"{' or '.join(o.name for o in others)}; its figures carry a mark."
            )
    if leaks and config.data.on_leak == "refuse":
        raise LeakError(
            " ".join(warnings) + " data.on_leak=refuse forbids this: split by patient, or set data.on_leak=mark."
        )
    return leaks, warnings
