"""Define the typed config: every key with its type, default, help, bounds and scope.

Defaults live in these dataclasses and nowhere else. The command line composes YAML trees and overrides onto them
(`cli/compose.py`), and the screen edits them directly. A key's dotted name is its path through the dataclasses:
``training.learning_rate``.
"""

from ctbench_core.config.data import (
    DEFAULT_TESTS,
    AutoSplitConfig,
    CohortConfig,
    ColumnsConfig,
    DataConfig,
    EncoderConfig,
    KfoldConfig,
    LabelsConfig,
    PathsConfig,
)
from ctbench_core.config.effects import default_of, effective_settings, has_effect
from ctbench_core.config.fixes import apply_fix
from ctbench_core.config.keys import (
    ALIASES,
    IGNORED_PREFIXES,
    KEYS,
    Config,
    KeyInfo,
    as_introduced,
    changed_keys,
    check_section,
    differing_keys,
    flatten,
    from_mapping,
    get_key,
    group_defaults,
    model_groups,
    nearest_keys,
    recipe_values,
    resolved,
    set_key,
    set_keys,
    values_for,
)
from ctbench_core.config.results import AnalysisConfig, EvaluationConfig, LoggingConfig, OptunaConfig, UtilsConfig
from ctbench_core.config.titles import (
    differing_settings,
    key_title,
    setting_text,
    setting_texts,
    title_of,
    value_text,
    words_for,
)
from ctbench_core.config.training import LossConfig, ModelConfig, ModelParams, ResumeConfig, TrainingConfig
from ctbench_core.config.urls import is_url, refuse_secret
from ctbench_core.config.yaml_text import check_yaml, dump_yaml
