"""The run store: run directories, their status, and the ledger of opened test sets."""

from ctbench_core.runs.annotations import Annotations, annotate, read_annotations
from ctbench_core.runs.disclosures import (
    VALIDATION,
    Disclosures,
    alignment_disclosures,
    disclosures_of,
    is_stale,
    openings_of,
)
from ctbench_core.runs.layout import EvaluationPaths, RunPaths, job_dir, new_run_id, run_paths
from ctbench_core.runs.reading import follow_history, parsed
from ctbench_core.runs.recipe import recipe_of
from ctbench_core.runs.recorder import Recorder
from ctbench_core.runs.resuming import check_resumable, newest_resumable, why_not_resumable
from ctbench_core.runs.status import (
    ACTIVE,
    ENDED,
    HEARTBEAT_LIMIT_S,
    RESUMABLE,
    Status,
    new_status,
    now,
    read_status,
    write_status,
)
from ctbench_core.runs.stop_requests import is_stop_requested, request_stop, withdraw_stop
from ctbench_core.runs.store import (
    LEDGER,
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
from ctbench_core.runs.trash import TRASH, delete_run, empty_trash, restore_run
