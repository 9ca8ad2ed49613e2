"""Digest the inputs of a run, and name those that differ between two times."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ctbench_core.manifest import Manifest, digest_bytes

NOT_VERIFIABLE = "Inputs not verifiable: the run was trained before digests of inputs were recorded."
ROLES = {"train": "training", "val": "validation"}


def digest_inputs(manifests: Mapping[str, Manifest], prints: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, str]:
    """Return the digests of inputs: the volumes and labels of each split, the findings, the features of each kind.

    They depend on content alone: not on the order of rows or columns, nor on the name or place of a file. Features
    are those of training and validation, or of all splits where there is neither.

    Args:
        prints: by kind and split, the fingerprints of the rows' vectors, uint64 (N,).
    """
    digests: dict[str, str] = {}
    for name, manifest in manifests.items():
        identity = manifest.identity
        digests |= {f"{name}.volumes": identity.volumes, f"{name}.labels": identity.labels}
        digests["findings"] = identity.findings
    names = [name for name in manifests if name in ROLES] or list(manifests)
    for kind, by_split in prints.items():
        ordered = [by_split[name][manifests[name].identity.order] for name in names]
        digests[f"features.{kind}"] = digest_bytes(np.concatenate(ordered).tobytes())
    return digests


def compare_digests(
    stored: Mapping[str, str], now: Mapping[str, str], counts: Mapping[str, str] | None = None
) -> list[str]:
    """Return a sentence for each input that has changed since training; what either side lacks is not compared.

    Labels and features are those of volumes: where the volumes have changed too, they are named only if counted.

    Args:
        stored: the digests of the run; empty for runs from before digests, whose inputs are not verifiable.
        counts: by digest, how much of it has changed, as in ``30 of 120 volumes``.
    """
    if not stored:
        return [NOT_VERIFIABLE]
    counts = counts or {}
    changed = [name for name in stored if name in now and stored[name] != now[name]]
    if "findings" in changed:  # labels of other findings differ by themselves
        changed = [name for name in changed if not name.endswith(".labels")]
    volumes = [name for name in changed if name.endswith(".volumes")]
    named = [name for name in changed if name in (*counts, *volumes, "findings") or not volumes]
    return [
        f"The {_title(name)} changed since training{f': {counts[name]}' if name in counts else ''}." for name in named
    ]


def _title(digest: str) -> str:
    """Name what a digest is of: ``training labels``, ``visual features``."""
    first, _, second = digest.partition(".")
    return f"{second} features" if first == "features" else f"{ROLES.get(first, first)} {second}".strip()
