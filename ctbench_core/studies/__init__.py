"""Studies: grids of runs worked off as banks by any number of processes, with the statistics to judge them."""

from ctbench_core.studies.cells import METRICS, bottlenecks, cell_frame
from ctbench_core.studies.control import CANCELLED, PAUSED, want
from ctbench_core.studies.differences import best_of, differences, load_recipes
from ctbench_core.studies.disclosures import study_disclosures
from ctbench_core.studies.layout import StudyPaths, study_paths
from ctbench_core.studies.overview import Overview, is_worked_on, overview, pace, studies_in
from ctbench_core.studies.plan import Plan, PlannedRun, read_plan, spelled_out
from ctbench_core.studies.recipes import REPEATS, cell_axes, cell_of
from ctbench_core.studies.results import VALIDATION, read_results, run_table
from ctbench_core.studies.run import plan_study, run_study
from ctbench_core.studies.sbatch import write_sbatch
from ctbench_core.studies.scaling import Curve, crossing, fit_curve, labels_needed
from ctbench_core.studies.search import DEFAULT_SPACE, Search, read_search, search_from
from ctbench_core.studies.search_work import plan_search, run_search, trials_of
from ctbench_core.studies.stability import TOP, stability
from ctbench_core.studies.study import AXES, GROUP, Study, groups, read_study, study_from
from ctbench_core.studies.trials import importance, row
from ctbench_core.studies.variance import PARTS
from ctbench_core.studies.work import read_shard
