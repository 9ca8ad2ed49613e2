"""Studies: grids of runs, trained as banks by any number of processes, and the statistics that compare them."""

from typing import TYPE_CHECKING

from ctbench_core.rooms import load_on_use

if TYPE_CHECKING:
    from ctbench_core.studies.axis_titles import axis_title, cell_title, label_title, titled_sentences
    from ctbench_core.studies.budget_curves import FEWEST_SEEDS, Budgets, Curve, crossing, fit_curve, labels_needed
    from ctbench_core.studies.cells import (
        CUT_NOTE,
        VARIANCE_PARTS,
        bottlenecks,
        cell_frame,
        has_cut_parts,
        without_cut_parts,
    )
    from ctbench_core.studies.deletion import delete_study
    from ctbench_core.studies.differences import best_of, compared_axes, count_uncompared, differences, overlaps_of
    from ctbench_core.studies.execution import plan_study, run_study
    from ctbench_core.studies.grid_edges import edge_warnings, space_edges
    from ctbench_core.studies.job_array import read_shard, write_sbatch
    from ctbench_core.studies.layout import StudyPaths, study_paths
    from ctbench_core.studies.plan import Plan, PlannedRun, expand_grid, read_plan
    from ctbench_core.studies.recipe_scores import REPEATS, cell_axes, cell_of, load_recipes
    from ctbench_core.studies.results import read_results, run_table, study_disclosures
    from ctbench_core.studies.search import DEFAULT_SPACE, TOP, Search, parse_search, read_search, stability
    from ctbench_core.studies.search_execution import NEW_SEEDS, plan_search, read_trials, run_search
    from ctbench_core.studies.status import StudyStatus, seconds_per_run, studies_in, study_status
    from ctbench_core.studies.study import AXES, GROUP, Study, expand_keys, parse_study, read_study, shared_keys
    from ctbench_core.studies.templates import Template, delete_template, read_templates, save_template
    from ctbench_core.studies.trials import parameter_importance, trial_row
    from ctbench_core.studies.workers import CANCELLED, PAUSED, has_active_worker, request_state

load_on_use(__name__)
