"""Plotly figures from frames, for the app and for notebooks. This room needs Plotly: the core imports it on demand."""

from plotly.graph_objects import Figure

from ctbench_core.figures.curves import BANDS, precision_recall, receiver_operating
from ctbench_core.figures.differences import comparison_forest, forest
from ctbench_core.figures.findings import add_prevalence_marks, finding_dots, prevalence
from ctbench_core.figures.layout import (
    CONFIG,
    SQUARE_PLOT,
    SQUARE_WIDTH,
    add_note,
    add_note_below,
    add_note_to_pictures,
    band,
    build_chart,
    histogram_bars,
    keep_legend_for_pictures,
    lower_bands,
    set_finding_layout,
    set_layout,
)
from ctbench_core.figures.paper import keep_for_paper, on_paper
from ctbench_core.figures.retrieval import recall_at_k, similarity_histogram
from ctbench_core.figures.small_multiples import small_multiples
from ctbench_core.figures.training import epoch_curves, learning_curves
