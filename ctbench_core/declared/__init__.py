"""What can be chosen, by name: metrics, heads and losses with their titles. Needs neither torch nor pandas."""

from ctbench_core.declared.datasets import ALL, DATASETS, PublicDataset, SourceTable
from ctbench_core.declared.formats import (
    FORMATS,
    FeatureFormat,
    ambiguous_suffixes,
    format_of,
    suffix_of,
    table_suffixes,
    vector_suffixes,
)
from ctbench_core.declared.heads import HEADS, Head, has_parameter, head_of, hidden_widths
from ctbench_core.declared.keys import SCOPES, USES, Parameters, Scope, key
from ctbench_core.declared.losses import LOSSES, Loss
from ctbench_core.declared.metrics import (
    CALIBRATED,
    METRICS,
    SOURCE_PREVALENCE,
    TUNED,
    IntervalRule,
    Metric,
    averaged_metrics,
    brief_metrics,
    calibrated_keys,
    compared_metrics,
    finding_metrics,
    interval_keys,
    macro_keys,
    metric_help,
    metric_of,
    metric_title,
    metrics_of,
    short_title,
    tuned_metrics,
)
from ctbench_core.declared.optimizers import OPTIMIZERS, SCHEDULES, Optimizer, Schedule
from ctbench_core.declared.registry import Registry, load
from ctbench_core.declared.trackers import TRACKERS, TrackerInfo
from ctbench_core.declared.truths import (
    CROSS_DIRECTIONS,
    DIRECTIONS,
    INSTANCE,
    OTHERS,
    SEMANTIC,
    TRUTHS,
    RetrievalDirection,
    Truth,
    retrieval_prefix,
)
