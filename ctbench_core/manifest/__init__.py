"""Manifests: which volumes, whose they are, what is known of them."""

from ctbench_core.manifest.cohort import apply_cohort
from ctbench_core.manifest.identity import Identities, clean_names, parse_identities
from ctbench_core.manifest.manifest import Manifest, shared_patients
from ctbench_core.manifest.read import infer_labels, read_manifest, read_table
from ctbench_core.manifest.split import split_by_group

__all__ = [
    "Identities",
    "Manifest",
    "apply_cohort",
    "clean_names",
    "infer_labels",
    "parse_identities",
    "read_manifest",
    "read_table",
    "shared_patients",
    "split_by_group",
]
