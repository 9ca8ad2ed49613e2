"""Feature files: found safely, read once, held as one matrix."""

from ctbench_core.features.audit import Audit, audit
from ctbench_core.features.load import Features, Problem, load_features, require_usable
from ctbench_core.features.one_file import DAMAGE, read_vector
from ctbench_core.features.pack import pack_folder
from ctbench_core.features.paths import SUFFIXES, TABLE_SUFFIXES, allowed_roots, check_allowed, find_file
from ctbench_core.features.stores import Store, changed_files, packed_stores, remove_store
