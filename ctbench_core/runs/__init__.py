"""The run store: run directories, their status, and the ledger of test evaluations."""

from typing import TYPE_CHECKING

from ctbench_core.rooms import load_on_use

if TYPE_CHECKING:
    from ctbench_core.runs.alignments import alignment_frame, read_alignment
    from ctbench_core.runs.annotations import LONGEST_NAME, Annotations, annotate, read_annotations, rename_run
    from ctbench_core.runs.bulk import BulkResult, delete_alignment, delete_runs, for_each, star_runs, tag_runs
    from ctbench_core.runs.convergence import NOT_CONVERGED, Convergence, convergence
    from ctbench_core.runs.damage import (
        DamagedRun,
        check_files,
        damaged_in,
        damaged_runs,
        repair,
        set_aside,
        undo_set_aside,
    )
    from ctbench_core.runs.deleted import Deleted, count_deleted_runs, deleted_in
    from ctbench_core.runs.disclosures import (
        NO_LEDGER,
        UNKNOWN,
        Disclosures,
        alignment_disclosures,
        alignment_sentences,
        alignment_size,
        disclosures_of,
        evaluations_of,
        is_stale,
        openings_of,
        stored_alignment_disclosures,
    )
    from ctbench_core.runs.expected_time import ExpectedTime, expected_time
    from ctbench_core.runs.external import ExternalTest
    from ctbench_core.runs.fields import run_fields, text_of
    from ctbench_core.runs.history import LOSSES, History, follow_history, history_frame, smooth, thin
    from ctbench_core.runs.identity import set_id_of, validation_set_id, volumes_digest_of
    from ctbench_core.runs.layout import (
        PLAN,
        SEARCH,
        VALIDATION,
        Below,
        EvaluationPaths,
        RunPaths,
        app_store,
        gone,
        job_dir,
        new_run_id,
        require_directory,
        run_paths,
    )
    from ctbench_core.runs.learning_curves import (
        FIRST_METRICS,
        MOST_CURVES,
        MOST_METRICS,
        LearningCurves,
        curve_titles,
        learning_curves,
    )
    from ctbench_core.runs.ledger import LEDGER, Ledger, Opening, OpeningCount
    from ctbench_core.runs.naming import automatic_label, is_named, named_rows, recipe_names, run_names, unique_names
    from ctbench_core.runs.places import allowed_roots, check_allowed, leads_out
    from ctbench_core.runs.provenance import Provenance, read_provenance
    from ctbench_core.runs.readers import (
        parse_epoch,
        read_cached,
        read_history,
        read_json,
        truncate_history,
    )
    from ctbench_core.runs.recipe_query import recipe_query
    from ctbench_core.runs.recorder import Recorder
    from ctbench_core.runs.results import (
        SCORES_ONLY,
        FindingMetrics,
        Interval,
        MacroMetric,
        Metrics,
        TestSet,
        read_metrics,
    )
    from ctbench_core.runs.resuming import (
        advice_on_changes,
        check_resumable,
        check_settings,
        loss_error_text,
        newest_resumable,
        why_not_resumable,
        will_fail_again,
    )
    from ctbench_core.runs.run_time import describe_stopping, elapsed_seconds, remaining_seconds
    from ctbench_core.runs.scores import (
        label_columns,
        read_frame,
        read_result_csv,
        score_arrays,
        score_labels,
        write_parquet,
    )
    from ctbench_core.runs.segments import describe_changes, record_segment, segment_start
    from ctbench_core.runs.status import (
        ACTIVE,
        ENDED,
        HEARTBEAT_LIMIT_S,
        RESUMABLE,
        Status,
        hold,
        hold_unchanged,
        is_own,
        is_stop_requested,
        new_status,
        now,
        owner_of,
        read_status,
        request_stop,
        seconds_silent,
        stored_status,
        try_status,
        withdraw_stop,
        write_status,
    )
    from ctbench_core.runs.store import (
        Run,
        RunStore,
        active_runs,
        check_length,
        delete_run,
        latest_run,
        name_of,
        open_run,
        read_best,
        read_config,
        restore_run,
        run_folders,
        try_open,
        write_config,
        write_latest,
    )
    from ctbench_core.runs.table import (
        RunTable,
        announce_change,
        count_unread,
        damaged_rows,
        read_table,
        run_row,
        run_rows,
        trace,
    )
    from ctbench_core.runs.trackers import Tracker, open_tracker
    from ctbench_core.runs.trash import (
        TRASH,
        delete_for_good,
        empty_trash,
        home_of,
        restore,
        size_of,
        to_trash,
    )
    from ctbench_core.runs.tuning import read_tuning
    from ctbench_core.runs.validation_sets import (
        best_order,
        joint_set_names,
        numbered_sets,
        set_ranks,
        validation_mean,
        validation_set_names,
    )
    from ctbench_core.runs.views import View, delete_view, read_views, save_view

load_on_use(__name__)
