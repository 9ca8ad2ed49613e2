"""Choose runs to compare from rows of the run table: which can be, which stands for a recipe, and which two come first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ctbench_core.compare.comparability import common_sets
from ctbench_core.formatting import plural
from ctbench_core.runs import VALIDATION, Run, best_order, open_run

Row = Mapping[str, Any]
_LISTED = 4  # seeds that are written one by one


def can_compare(row: Row) -> bool:
    """Whether a run has results to compare: on a test set, or scores on validation."""
    return row["kind"] in ("train", "score") and bool(row["tests"] or common_sets([open_run(row["run_dir"])]))


def are_repeats(first: Row, second: Row) -> bool:
    """Whether two trained runs are of one recipe: they differ in their seed or fold alone."""
    return first["kind"] == second["kind"] == "train" and bool(first["recipe"] == second["recipe"])


def run_for_recipe(row: Row, ranked: Iterable[Row]) -> Row | None:
    """Return the run that stands for a run's recipe: itself where it has test results, else its best repeat with some.

    Without test results in any of them, the first with scores on validation; None where nothing can be compared.

    Args:
        ranked: rows of the store, best first.
    """
    repeats = [row, *(one for one in ranked if are_repeats(one, row))]
    return next((one for one in repeats if one["tests"]), None) or next(filter(can_compare, repeats), None)


def default_runs(rows: Sequence[Row]) -> list[str]:
    """Return the ids of the two runs that Compare begins with, the better one first; of one recipe only if there is no other.

    They are the best runs of two recipes by validation AUPRC, of one validation set if possible, with a test set in common
    if possible, since the metrics of different validation sets do not rank runs. The second recipe is the best that was
    tested with a seed of the first's, if any was, and both runs have that seed: without one, a difference has no interval.

    Args:
        rows: two runs or more that can be compared, newest first.
    """
    cells = ([row[name] for row in rows] for name in ("validation_set", "created", "val_auprc"))
    ranked = [rows[place] for place in best_order(*cells)]
    recipes = _one_a_recipe(ranked)
    by_set: dict[str, list[Row]] = {}
    for row in recipes:
        by_set.setdefault(row["validation_set"], []).append(row)
    candidates = [*by_set.values(), recipes, ranked]
    pairs = [pair for group in candidates if (pair := _first_sharing(group))]
    tested = [pair for pair in pairs if all(row["tests"] for row in pair) and not are_repeats(*pair)]
    first, second = next(iter(tested or pairs), (rows[0], rows[1]))
    if second["kind"] == "train":
        first, second = _of_one_seed(first, second, recipes, ranked) or (first, second)
    return [first["run_id"], second["run_id"]]


def _of_one_seed(first: Row, second: Row, recipes: Sequence[Row], ranked: Sequence[Row]) -> tuple[Row, Row] | None:
    """Return runs of one seed of the first run's recipe and of the best other that was tested with a seed of it, if any was.

    Args:
        second: its validation set is that of the other recipe. recipes: a run for each, best first. ranked: all runs.
    """
    own, seeds = _identity(first), _tested_seeds(ranked)
    peers = (row for row in recipes if row["validation_set"] == second["validation_set"] and _identity(row) != own)
    peer = next((row for row in peers if seeds[_identity(row)] & seeds[own]), None)
    if peer is None:
        return None
    common = seeds[_identity(peer)] & seeds[own]
    of_first, of_peer = ([row for row in ranked if _identity(row) == name] for name in (own, _identity(peer)))
    best = next(row for row in of_first if _test_seeds(row) & common)
    return best, next(row for row in of_peer if _test_seeds(row) & common & _test_seeds(best))


def _identity(row: Row) -> str:
    """Return the recipe of a trained run; predictions stand for themselves."""
    return str(row["recipe"] if row["kind"] == "train" else row["run_id"])


def _tested_seeds(rows: Iterable[Row]) -> dict[str, set[tuple[str, Any]]]:
    """Return the test sets of each recipe, each with the seeds of the runs that were evaluated on it."""
    seeds: dict[str, set[tuple[str, Any]]] = {}
    for row in rows:
        seeds.setdefault(_identity(row), set()).update(_test_seeds(row))
    return seeds


def _test_seeds(row: Row) -> set[tuple[str, Any]]:
    return {(name, row["seed"]) for name in row["tests"]}


def _one_a_recipe(ranked: Sequence[Row]) -> list[Row]:
    """Return the runs that stand for the recipes of each validation set, best first; predictions stand for themselves."""
    by_recipe: dict[tuple[str, str], list[Row]] = {}
    for row in ranked:
        by_recipe.setdefault((row["validation_set"], _identity(row)), []).append(row)
    return [run_for_recipe(group[0], group) or group[0] for group in by_recipe.values()]


def _first_sharing(ranked: Sequence[Row]) -> tuple[Row, Row] | None:
    """Return the first two runs with a set of the same name in common; None without any."""
    first: dict[str, int] = {}
    pairs: dict[str, tuple[int, int]] = {}
    for place, row in enumerate(ranked):
        for name in row["tests"] or [VALIDATION]:
            if name not in first:
                first[name] = place
            elif name not in pairs:
                pairs[name] = (first[name], place)
    return (ranked[min(pairs.values())[0]], ranked[min(pairs.values())[1]]) if pairs else None


def repeats_on(chosen: Sequence[Row], rows: Iterable[Row], on: str) -> dict[str, list[str]] | None:
    """Return the runs of each chosen run's recipe that were scored on a set, the chosen one first; by run id.

    Of several runs of one seed the newest counts, or the chosen one. None where recipes cannot be compared: two chosen runs
    have the same recipe, or no recipe has several seeds.

    Args:
        rows: of the store, newest first.
    """
    if len({row["recipe"] for row in chosen}) < len(chosen) or any(row["kind"] != "train" for row in chosen):
        return None
    repeats, first = {}, open_run(chosen[0]["run_dir"])
    for run, own in _finished_repeats(chosen, rows):
        scored = [row for row in own if _is_scored(row, first, on)]
        newest = {row["seed"]: row["run_dir"] for row in reversed(scored)} | {run["seed"]: run["run_dir"]}
        repeats[run["run_id"]] = list(dict.fromkeys([run["run_dir"], *newest.values()]))
    return repeats if any(len(run_dirs) > 1 for run_dirs in repeats.values()) else None


def repeats_without(chosen: Sequence[Row], rows: Iterable[Row], on: str) -> list[Row]:
    """Return the finished repeats of chosen runs that have no scores on a set, of seeds of which no run has any.

    Args:
        rows: of the store.
    """
    missing: list[Row] = []
    first = open_run(chosen[0]["run_dir"])
    for run, own in _finished_repeats(chosen, rows):
        scored = {row["seed"] for row in own if _is_scored(row, first, on)} | {run["seed"]}
        by_seed = {row["seed"]: row for row in own if row["seed"] not in scored}
        missing += [by_seed[seed] for seed in sorted(by_seed)]
    return missing


def seeds_text(seeds: Iterable[int]) -> str:
    """Write some seeds: ``seed 1``, ``seeds 1 to 3``, ``seeds 1, 3``, ``12 seeds``."""
    numbers = sorted(seeds)
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"seeds {numbers[0]} to {numbers[-1]}"
    if len(numbers) > _LISTED:
        return plural(len(numbers), "seed")
    return f"seed{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def _finished_repeats(chosen: Sequence[Row], rows: Iterable[Row]) -> Iterator[tuple[Row, list[Row]]]:
    every = list(rows)
    for run in chosen:
        yield run, [row for row in every if row["state"] == "finished" and _same_fold(row, run)]


def _is_scored(row: Row, first: Run, on: str) -> bool:
    return on in common_sets([first, open_run(row["run_dir"])])


def _same_fold(row: Row, run: Row) -> bool:
    return are_repeats(row, run) and bool(row["fold"] == run["fold"])
