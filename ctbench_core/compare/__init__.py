"""Comparison of runs, recipes and label sets on common volumes."""

from typing import TYPE_CHECKING

from ctbench_core.rooms import load_on_use

if TYPE_CHECKING:
    from ctbench_core.compare.alignments import compare_alignments
    from ctbench_core.compare.comparability import (
        CommonScores,
        ModelScores,
        common_sets,
        config_differences,
        differing_parts,
        keep_common,
        published_frame,
        read_model_scores,
        scores_path,
    )
    from ctbench_core.compare.comparison import (
        Comparison,
        Matched,
        Pair,
        compare_models,
        compare_runs,
        comparison_set,
        match_runs,
    )
    from ctbench_core.compare.label_sets import compare_label_sets, read_label_set
    from ctbench_core.compare.primary import Margin, Primary, primary_of
    from ctbench_core.compare.recipes import compare_recipes, estimate_recipe, match_recipes, recipes_of
    from ctbench_core.compare.run_choice import (
        are_repeats,
        can_compare,
        default_runs,
        repeats_on,
        repeats_without,
        run_for_recipe,
        seeds_text,
    )
    from ctbench_core.compare.tables import MACROS, MARGIN_COLUMNS

load_on_use(__name__)
