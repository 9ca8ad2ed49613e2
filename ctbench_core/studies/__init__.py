"""Studies: grids of runs worked off as banks by any number of processes, with the statistics to judge them."""

from ctbench_core.studies.layout import StudyPaths, study_paths
from ctbench_core.studies.plan import Plan, read_plan, spelled_out
from ctbench_core.studies.run import plan_study, run_study
from ctbench_core.studies.study import Study, read_study, study_from

__all__ = [
    "Plan",
    "Study",
    "StudyPaths",
    "plan_study",
    "read_plan",
    "read_study",
    "run_study",
    "spelled_out",
    "study_from",
    "study_paths",
]
