"""Feature files: found safely, read once, held as one matrix."""

from ctbench_core.features.audit import Audit, audit
from ctbench_core.features.load import Features, Problem, load_features, require_usable
from ctbench_core.features.paths import SUFFIXES, TABLE_SUFFIXES, allowed_roots, check_allowed, find_file
from ctbench_core.features.read import read_vector

__all__ = [
    "SUFFIXES",
    "TABLE_SUFFIXES",
    "Audit",
    "Features",
    "Problem",
    "allowed_roots",
    "audit",
    "check_allowed",
    "find_file",
    "load_features",
    "read_vector",
    "require_usable",
]
