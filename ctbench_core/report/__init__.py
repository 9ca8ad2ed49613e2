"""The paper files of a run or a comparison: Methods, LaTeX and tables."""

from typing import TYPE_CHECKING

from ctbench_core.rooms import load_on_use

if TYPE_CHECKING:
    from ctbench_core.report.cards import data_card, model_card
    from ctbench_core.report.comparison import paper_files, write_paper
    from ctbench_core.report.comparison_sentences import (
        answer_sentences,
        comparison_notes,
        lead_sentences,
        margin_sentences,
        marked_name,
        p_text,
        seed_sentences,
        seed_texts,
    )
    from ctbench_core.report.evaluation import run_paper
    from ctbench_core.report.external import RECALIBRATION, is_recalibrated, prevalence_rows
    from ctbench_core.report.intervals import (
        DETECTABLE_TITLE,
        difference_text,
        estimate_text,
        interval_texts,
        interval_title,
        mark_text,
    )

load_on_use(__name__)
