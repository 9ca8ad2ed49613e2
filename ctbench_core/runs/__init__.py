"""The run store: run directories, their status, and the ledger of opened test sets."""

from ctbench_core.runs.annotations import Annotations, annotate, read_annotations
from ctbench_core.runs.layout import EvaluationPaths, RunPaths, new_run_id, run_paths
from ctbench_core.runs.marks import Marks, alignment_marks, marks_of
from ctbench_core.runs.recipe import recipe_of
from ctbench_core.runs.recorder import Recorder
from ctbench_core.runs.requests import ask_to_stop, is_asked_to_stop, withdraw_stop
from ctbench_core.runs.resuming import check_resumable, newest_resumable, why_not_resumable
from ctbench_core.runs.status import ACTIVE, ENDED, RESUMABLE, Status, new_status, read_status, write_status
from ctbench_core.runs.store import (
    Run,
    RunStore,
    cut_history,
    latest_run,
    open_run,
    read_config,
    read_history,
    read_json,
    run_folders,
    write_config,
    write_latest,
)
from ctbench_core.runs.trackers import Tracker, tracked
from ctbench_core.runs.trash import delete_run, empty_trash, restore_run

__all__ = [
    "ACTIVE",
    "ENDED",
    "RESUMABLE",
    "Annotations",
    "EvaluationPaths",
    "Marks",
    "Recorder",
    "Run",
    "RunPaths",
    "RunStore",
    "Status",
    "Tracker",
    "alignment_marks",
    "annotate",
    "ask_to_stop",
    "check_resumable",
    "cut_history",
    "delete_run",
    "empty_trash",
    "is_asked_to_stop",
    "latest_run",
    "marks_of",
    "new_run_id",
    "new_status",
    "newest_resumable",
    "open_run",
    "read_annotations",
    "read_config",
    "read_history",
    "read_json",
    "read_status",
    "recipe_of",
    "restore_run",
    "run_folders",
    "run_paths",
    "tracked",
    "why_not_resumable",
    "withdraw_stop",
    "write_config",
    "write_latest",
    "write_status",
]
