"""What researchers bring from ct-rate-feature-benchmarks: its run folders, and the tables they are used to."""

from ctbench_core.legacy.folders import OldRun, find_old_runs, is_old_run
from ctbench_core.legacy.importing import Imported, import_runs, list_runs
