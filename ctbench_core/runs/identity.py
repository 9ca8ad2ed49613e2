"""Return the identities of the data that stored runs were trained, validated and tested on."""

from __future__ import annotations

import functools
from pathlib import Path

from ctbench_core.errors import DamagedFile
from ctbench_core.manifest import identity_of, set_id
from ctbench_core.runs.layout import VALIDATION
from ctbench_core.runs.provenance import read_provenance
from ctbench_core.runs.readers import Fingerprint, fingerprint
from ctbench_core.runs.results import read_metrics
from ctbench_core.runs.scores import label_columns, read_frame
from ctbench_core.runs.store import Run
from ctbench_core.stored import is_there, reading


def set_id_of(run: Run, name: str) -> str | None:
    """Return the identity of a test set, or of validation, of a run: digest of volumes, findings and labels.

    Of sets scored before identities were stored, it is worked out from the table of scores; None without one.
    """
    if name == VALIDATION:
        return validation_set_id(run)
    bundle, metrics = run.paths.evaluation(name), read_metrics(run.paths.evaluation(name).metrics)
    return (metrics.test_set.id if metrics else None) or _digests_of(bundle.scores)[1]


def volumes_digest_of(run: Run, name: str) -> str | None:
    """Return the digest of the volumes of a test set that a run was scored on; None without a table of scores."""
    return _digests_of(run.paths.evaluation(name).scores)[0]


def validation_set_id(run: Run) -> str | None:
    """Return the identity of the volumes and labels that chose a run's best epoch; None where it is unknown.

    Validation metrics rank runs of one identity only.
    """
    inputs = read_provenance(run.paths).inputs
    if "val.volumes" in inputs:
        return set_id(inputs["val.volumes"], inputs["findings"], inputs["val.labels"])
    return _digests_of(run.paths.validation_scores)[1]


def _digests_of(scores: Path) -> tuple[str | None, str | None]:
    """Return the digest of the volumes, and the identity, of a ``scores.parquet``; None where there is none.

    A run that is deleted while it is read has none.
    """
    try:
        with reading(scores):
            return _read_digests(scores, fingerprint(scores.stat()))
    except FileNotFoundError:
        return None, None
    except DamagedFile:
        if is_there(scores):
            raise
        return None, None


@functools.lru_cache(maxsize=20_000)
def _read_digests(scores: Path, stamp: Fingerprint) -> tuple[str, str]:
    """Digest a table of scores, once for each state of its file."""
    from pyarrow.parquet import read_schema  # needed for old runs alone

    columns = read_schema(scores).names
    labels, scored = ([name[len(part) :] for name in columns if name.startswith(part)] for part in ("target_", "prob_"))
    if set(labels) != set(scored):  # of fewer labels it would be another set
        raise ValueError(f"labels and probabilities of different findings: {sorted(set(labels) ^ set(scored))}")
    frame = read_frame(scores, columns=["volumename", *(f"target_{label}" for label in labels)])
    identity = identity_of(frame["volumename"].to_numpy(str), labels, label_columns(frame, "target_", labels))
    return identity.volumes, identity.id
