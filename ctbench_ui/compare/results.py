"""What the Compare page reads and computes, cached until the scores change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from ctbench_core.compare import (
    Comparison,
    compare_label_sets,
    compare_recipes,
    compare_runs,
    comparison_set,
    config_differences,
    read_label_set,
    read_model_scores,
    scores_path,
)
from ctbench_core.evaluate import finding_curves
from ctbench_core.report import (
    comparison_notes,
    lead_sentences,
    margin_sentences,
    paper_files,
    seed_sentences,
    seed_texts,
)
from ctbench_core.runs import open_run, read_frame, score_arrays
from ctbench_ui.shared import as_text, cache
from ctbench_ui.shared.cache import Stamp


def compare(run_dirs: tuple[str, ...], on: str, by_recipe: bool, margin: float | None, swaps: int) -> dict[str, Any]:
    """Return a comparison as plain frames and values, its disclosures as of now.

    Args:
        by_recipe: the runs are seeds of recipes, which are compared in place of the runs.
        margin: for non-inferiority and equivalence; None: what the runs declare.
        swaps: random exchanges of the rank-swap test; 0: no such test.

    Raises:
        InputError: a run has no scores on the set any more, because it is being deleted.
    """
    runs = [open_run(folder) for folder in run_dirs]
    set_names = comparison_set(runs, on)[1]
    stamps = repr([cache.stamp(scores_path(run, name)) for run, name in zip(runs, set_names)])
    one = _comparison(run_dirs, on, by_recipe, stamps)
    one = (_swapped(run_dirs, on, by_recipe, stamps, swaps) if swaps else one).with_margin(margin)
    comparison = one.with_runs(runs, set_names)
    values = comparison.to_json(list(run_dirs))
    return {
        "names": comparison.common.names,
        "labels": comparison.common.labels,
        "metrics": comparison.metrics,
        "differences": comparison.differences,
        "settings": config_differences(runs),
        "disclosures": comparison.disclosures,
        "margins": margin_sentences(comparison),
        "lead": lead_sentences(comparison, lambda name: f"**{as_text(name)}**"),
        "notes": comparison_notes(comparison),
        "seeds": seed_sentences(comparison),
        "seeds_of": seed_texts(comparison),
        "is_of_models": max(comparison.settings["seeds"]) == 1,
        "set_names": dict(zip(run_dirs, set_names)),
        "files": lambda: paper_files(comparison, runs),
        **{name: values[name] for name in ("n", "left_out", "disagreeing_labels", "marks", "eligible")},
    }


@cache.remember(max_entries=16, spinner="Comparing")
def _comparison(run_dirs: tuple[str, ...], on: str, by_recipe: bool, stamps: str) -> Comparison:
    """Return a comparison, computed once for the scores of these stamps. Treat it as read-only."""
    return (compare_recipes if by_recipe else compare_runs)(run_dirs, on)


@cache.remember(max_entries=8, spinner="Exchanging ranks")
def _swapped(run_dirs: tuple[str, ...], on: str, by_recipe: bool, stamps: str, swaps: int) -> Comparison:
    """Return a comparison with the rank-swap test, which takes some seconds. Treat it as read-only."""
    return _comparison(run_dirs, on, by_recipe, stamps).with_swaps(swaps)


@cache.remember(max_entries=64)
def probabilities(first: Stamp, second: Stamp, label: str) -> pd.DataFrame:
    """Return the common volumes of two runs for one finding: volume, exam, patient, label, first, second, apart."""
    names = ["volumename", "exam", "patient", f"target_{label}", f"prob_{label}"]
    one = read_frame(Path(first[0]), columns=names)
    other = read_frame(Path(second[0]), columns=["volumename", f"prob_{label}"])
    frame = one.merge(other, on="volumename", suffixes=("", " of the other"))
    frame = frame.set_axis(["volume", "exam", "patient", "label", "first", "second"], axis=1)
    frame["apart"] = (frame["first"] - frame["second"]).abs()
    return frame.sort_values("apart", ascending=False, kind="stable")


@cache.per_file(max_entries=64)
def curves(scores: Path, label: str) -> pd.DataFrame:
    """Return the curves of one finding from a run's scores: curve, threshold, x, y."""
    frame = read_frame(scores, columns=[f"target_{label}", f"prob_{label}"])
    _, targets, probabilities = score_arrays(frame)
    return finding_curves(targets[:, 0], probabilities[:, 0])


@cache.remember(max_entries=16, spinner="Scoring against the second label table")
def against_labels(run_dir: str, on: str, scores: Stamp, labels: Stamp) -> pd.DataFrame:
    """Return a run's metrics against its own labels and against those of another table."""
    model = read_model_scores(run_dir, on)
    return compare_label_sets(model, read_label_set(Path(labels[0]), model.labels, open_run(run_dir).config))
