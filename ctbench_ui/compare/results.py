"""What the Compare page reads and computes, cached until the scores change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from ctbench_core.compare import (
    Comparison,
    Matched,
    compare_label_sets,
    comparison_set,
    config_differences,
    match_recipes,
    match_runs,
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
from ctbench_core.runs import Run, open_run, read_frame, score_arrays
from ctbench_ui.shared import as_text, cache
from ctbench_ui.shared.cache import Stamp


def read_matched(run_dirs: tuple[str, ...], run_names: tuple[str, ...], on: str, by_recipe: bool) -> dict[str, Any]:
    """Return what is compared as plain values, without any statistic, its disclosures as of now.

    Args:
        run_names: those of the runs in the store, as on every page.
        by_recipe: the runs are seeds of recipes, which are compared in place of the runs.

    Raises:
        InputError: a run has no scores on the set any more, because it is being deleted.
    """
    runs, set_names, stamps = _read_sets(run_dirs, on)
    one = _matched(run_dirs, () if by_recipe else run_names, on, by_recipe, stamps)
    return {
        "names": one.names,
        "labels": one.common.labels,
        "n": one.common.n,
        "left_out": one.common.left_out,
        "settings": config_differences(runs, run_names),
        "disclosures": one.disclosures(runs, set_names),
        "set_names": dict(zip(run_dirs, set_names)),
    }


def _read_sets(run_dirs: tuple[str, ...], on: str) -> tuple[list[Run], list[str], str]:
    """Return the runs, what each calls the set, and the stamps of its scores."""
    runs = [open_run(folder) for folder in run_dirs]
    set_names = comparison_set(runs, on)[1]
    return runs, set_names, repr([cache.stamp(scores_path(run, name)) for run, name in zip(runs, set_names)])


def compare(
    run_dirs: tuple[str, ...],
    run_names: tuple[str, ...],
    on: str,
    by_recipe: bool,
    margin: float | None,
    swaps: int,
) -> dict[str, Any]:
    """Return the statistics of a comparison as plain frames and values.

    Args:
        run_names, by_recipe: as `read_matched`.
        margin: for non-inferiority and equivalence; None: what the runs declare.
        swaps: random exchanges of the rank-swap test; 0: no such test.

    Raises:
        InputError: as `read_matched`.
    """
    runs, set_names, stamps = _read_sets(run_dirs, on)
    key = run_dirs, () if by_recipe else run_names, on, by_recipe, stamps
    one = (_swapped(*key, swaps) if swaps else _comparison(*key)).with_margin(margin)
    comparison = one.with_runs(runs, set_names)
    return {
        "metrics": comparison.metrics,
        "differences": comparison.differences,
        "margins": margin_sentences(comparison),
        "lead": lead_sentences(comparison, lambda name: f"**{as_text(name)}**"),
        "notes": comparison_notes(comparison),
        "seeds": seed_sentences(comparison),
        "seeds_of": seed_texts(comparison),
        "is_of_models": max(comparison.settings["seeds"]) == 1,
        "files": lambda: paper_files(comparison, runs),
        "marks": comparison.marks,
        "eligible": comparison.eligible,
    }


@cache.remember(max_entries=16)
def _matched(run_dirs: tuple[str, ...], run_names: tuple[str, ...], on: str, by_recipe: bool, stamps: str) -> Matched:
    """Return what is compared, read once for the scores of these stamps. Treat it as read-only."""
    return match_recipes(run_dirs, on) if by_recipe else match_runs(run_dirs, on, run_names)


@cache.remember(max_entries=16, spinner="Comparing")
def _comparison(
    run_dirs: tuple[str, ...], run_names: tuple[str, ...], on: str, by_recipe: bool, stamps: str
) -> Comparison:
    """Return a comparison, computed once for the scores of these stamps. Treat it as read-only."""
    return _matched(run_dirs, run_names, on, by_recipe, stamps).compare()


@cache.remember(max_entries=8, spinner="Exchanging ranks")
def _swapped(
    run_dirs: tuple[str, ...], run_names: tuple[str, ...], on: str, by_recipe: bool, stamps: str, swaps: int
) -> Comparison:
    """Return a comparison with the rank-swap test, which takes some seconds. Treat it as read-only."""
    return _comparison(run_dirs, run_names, on, by_recipe, stamps).with_swaps(swaps)


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
