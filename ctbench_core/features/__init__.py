"""Feature files: found below a root, read once, held as one matrix."""

from typing import TYPE_CHECKING

from ctbench_core.rooms import load_on_use

if TYPE_CHECKING:
    from ctbench_core.features.audit import Audit, audit
    from ctbench_core.features.contents import StoredArray, list_arrays, reading_fixes, shape_text
    from ctbench_core.features.load import FeatureMatrix, Problem, load_features, require_usable
    from ctbench_core.features.pack import PackedStore, changed_files, pack_folder, packed_stores, remove_store
    from ctbench_core.features.paths import allowed_roots, check_allowed, check_place, check_url, find_file
    from ctbench_core.features.remote import copy_manifest, local_place, read_copy, written_place
    from ctbench_core.features.shards import RunShards, Shard, write_shard
    from ctbench_core.features.tables import open_parquet, read_npz
    from ctbench_core.features.vector import READ_ERRORS, explain, read_vector

load_on_use(__name__)
