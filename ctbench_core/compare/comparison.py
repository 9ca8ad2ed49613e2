"""Compare models, or recipes over their seeds, with a baseline: every finding and the macro means.

Every difference, interval and p is `inference.recipe_difference`'s, so that a study says the same of the same recipes.
Shapes: M models or recipes, S seeds, N rows, C findings.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.compare.comparability import (
    CommonScores,
    ModelScores,
    common_sets,
    keep_common,
    read_model_scores,
)
from ctbench_core.compare.primary import Primary, margin_warnings, margins_of, primary_of
from ctbench_core.compare.tables import adjusted, difference_rows, metric_rows
from ctbench_core.dataset import ManifestCache, seed_overlap
from ctbench_core.errors import InputError
from ctbench_core.formatting import plural
from ctbench_core.inference import (
    Best,
    Difference,
    Figures,
    best_of,
    estimate,
    match_seeds,
    measure,
    rank_swap,
    recipe_difference,
)
from ctbench_core.manifest import identity_of
from ctbench_core.runs import Disclosures, Run, convergence, disclosures_of, open_run, run_names, set_id_of

ALPHA = 0.05


@dataclass(frozen=True)
class Group:
    """A model, or a recipe by its seeds: the positions of its layers, and the names of their seeds.

    Attributes:
        overlap: the mean share of training patients that two seeds have in common.
        mark: of its name in tables: that a run has not converged; else empty.
    """

    name: str
    layers: list[int]
    seeds: list[str]
    overlap: float = 0.0
    mark: str = ""


@dataclass(frozen=True)
class Pair:
    """A group compared with the baseline.

    Attributes:
        differences: first - second, by metric.
        values: by metric, what both are in each column, over the seeds that are compared: they subtract to the difference.
        p_swap: of the rank swap, if it was tested.
    """

    first: Group
    second: Group
    differences: Mapping[str, Difference]
    values: Mapping[str, tuple[Mapping[str, float], Mapping[str, float]]]
    p_swap: Sequence[float] | np.ndarray = ()


@dataclass(frozen=True)
class Comparison:
    """A baseline (the first model) and others on common volumes.

    Attributes:
        on: the test set, or validation.
        common: the models and their common rows.
        metrics: a row a model, metric and column (``macro``, ``macro_eligible`` where it differs, findings); see
            `tables.metric_rows`.
        differences: the same for a (the model) - b (the baseline): a_value, b_value (their means over the seeds compared),
            delta, lo, hi, p, p_adjusted, family, reason, p_swap, detectable, seeds, question, primary; with a margin also
            `tables.MARGIN_COLUMNS`.
        best: by metric, the best macro mean against all others.
        eligible: the findings that have intervals.
        disclosures: added to every file: evaluations of the test set, leak, label origin, banner, warnings.
        pairs: what the rows of ``differences`` come from.
        settings: the parameters of the statistics, for a Methods paragraph.
        primary: the declared primary analysis, if any.
        set_names: what each run calls the set; empty without runs.
    """

    on: str
    common: CommonScores
    metrics: pd.DataFrame
    differences: pd.DataFrame
    best: dict[str, Best]
    eligible: list[str]
    disclosures: Disclosures
    pairs: Sequence[Pair] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    primary: Primary | None = None
    set_names: Sequence[str] = ()

    def with_runs(self, runs: Sequence[Run], set_names: Sequence[str]) -> Comparison:
        """Return the comparison of runs, with their disclosures as of now.

        Args:
            set_names: what each run calls the set.
        """
        disclosures = _disclosures(runs, self.on, self.common, set_names)
        return dataclasses.replace(self, disclosures=disclosures, set_names=tuple(set_names))

    def with_margin(self, margin: float | None) -> Comparison:
        """Return the comparison with the answers about a margin in every metric; None: about the declared margins."""
        margins = margins_of(margin, self.primary)
        differences = adjusted(
            [
                row
                for pair in self.pairs
                for metric, one in pair.differences.items()
                for row in difference_rows(
                    (pair.first.name, pair.second.name),
                    pair.values[metric],
                    one,
                    margins.get(metric),
                    self.primary,
                    pair.p_swap if metric == "auroc" else (),
                )
            ],
            len(self.common.names),
        )
        settings = self.settings | {"family": int(differences["p"].notna().sum())}
        settings |= {"margin": margin}
        settings["margins"] = {name: dataclasses.asdict(one) for name, one in margins.items()}
        return dataclasses.replace(self, differences=differences, settings=settings)

    def with_swaps(self, swaps: int) -> Comparison:
        """Return the comparison with the rank-swap test of AUROC (a sensitivity analysis), where models are compared."""
        if not swaps or max(self.settings["seeds"]) > 1 or "folds" in self.settings:
            return self
        common = self.common
        pairs = []
        for pair in self.pairs:
            first, second = (common.scores[one.layers[0]] for one in (pair.first, pair.second))
            p_swap = rank_swap(common.targets, first, second, common.patients, swaps)
            pairs.append(dataclasses.replace(pair, p_swap=p_swap))
        one = dataclasses.replace(self, pairs=pairs, settings=self.settings | {"swaps": swaps})
        return one.with_margin(self.margin)

    @property
    def marks(self) -> dict[str, str]:
        """The marks of models or recipes by name, where they have any."""
        groups = [self.pairs[0].second, *(pair.first for pair in self.pairs)]
        return {group.name: group.mark for group in groups if group.mark}

    @property
    def margin(self) -> float | None:
        """The margin that was given; None where the declared ones are used."""
        return self.settings.get("margin")

    @property
    def test_set(self) -> dict[str, Any]:
        """Identity, name and number of volumes of the set: as the runs share it, else of the rows in common."""
        common = self.common
        own = identity_of(common.volumes, common.labels, common.targets).id
        return {"id": self.disclosures.test_set or own, "name": self.on, "volumes": len(common.volumes)}

    def to_json(self, runs: Sequence[str]) -> dict[str, Any]:
        """Return the `compare` JSON."""
        best = {
            name: {"model": self.common.names[one.index], "marked": one.marked, "p": one.p.tolist()}
            for name, one in self.best.items()
            if one.index is not None
        }
        return {
            "runs": list(runs),
            "names": self.common.names,
            "on": self.on,
            "n": self.common.n,
            "marks": self.marks,
            "left_out": self.common.left_out,
            "disagreeing_labels": self.common.disagreeing,
            **self.disclosures.to_json(),
            "test_set": self.test_set,
            "figures": self.metrics.to_dict("records"),
            "differences": self.differences.to_dict("records"),
            "best": best,
            "eligible": self.eligible,
            "primary": self.primary.to_json() if self.primary else None,
            "settings": self.settings,
        }


@dataclass(frozen=True)
class Matched:
    """Runs, or recipes by their seeds, on common volumes: what can be shown before any statistic.

    Attributes:
        on: the test set, or validation.
        common: the scores of every run. groups: the runs or recipes by their layers in it.
        runs: those of each group.
        primary: the declared primary analysis, if any.
    """

    on: str
    common: CommonScores
    groups: Sequence[Group]
    runs: Sequence[Sequence[Run]]
    primary: Primary | None = None

    @property
    def names(self) -> list[str]:
        """The names of the runs or recipes."""
        return [group.name for group in self.groups]

    def disclosures(self, runs: Sequence[Run], set_names: Sequence[str]) -> Disclosures:
        """Return the disclosures of the comparison as of now, as `Comparison.with_runs`."""
        warnings = [*self.common.warnings, *margin_warnings(self.primary)]
        return _disclosures(runs, self.on, dataclasses.replace(self.common, warnings=warnings), set_names)

    def compare(self) -> Comparison:
        """Compare with the first; `Comparison.with_runs` adds the disclosures."""
        cache = ManifestCache()
        groups = [
            dataclasses.replace(group, overlap=seed_overlap(runs[0].config, cache)) if len(runs) > 1 else group
            for group, runs in zip(self.groups, self.runs)
        ]
        return compare_groups(self.common, groups, self.on, self.primary)


def _disclosures(runs: Sequence[Run], on: str, common: CommonScores, set_names: Sequence[str]) -> Disclosures:
    """Return the disclosures of runs compared on common scores, with the warnings of both."""
    disclosures = disclosures_of(runs, on, n=common.n, set_names=set_names)
    warnings = [*common.warnings, *disclosures.warnings]
    warnings += [text for text in convergence_warnings(runs) if text.partition(": ")[2] not in " ".join(warnings)]
    return dataclasses.replace(disclosures, warnings=warnings)


def compare_runs(run_dirs: Sequence[Path | str], on: str | None = None, names: Sequence[str] = ()) -> Comparison:
    """Compare stored runs with the first of them.

    Args:
        on: a test set on which all were evaluated, by its name or identity, or ``validation``; by default the first
            common test set, else validation.
        names: as `match_runs`.

    Raises:
        InputError: fewer than two runs, no set in common, or no volume or finding in common.
    """
    runs = [open_run(folder) for folder in run_dirs]
    name, set_names = comparison_set(runs, on)
    return match_runs(run_dirs, name, names).compare().with_runs(runs, set_names)


def match_runs(run_dirs: Sequence[Path | str], on: str | None = None, names: Sequence[str] = ()) -> Matched:
    """Match stored runs on their common volumes and findings.

    Args:
        on: as `compare_runs`.
        names: of the runs; by default those that `run_names` gives them beside one another.

    Raises:
        InputError: as `compare_runs`.
    """
    runs = [open_run(folder) for folder in run_dirs]
    name, set_names = comparison_set(runs, on)
    models = [
        ModelScores(title, read_model_scores(run.paths.root, own).frame, run)
        for title, run, own in zip(names or run_names(runs), runs, set_names)
    ]
    common = keep_common(models)
    return Matched(name, common, _single(common, models), [[run] for run in runs], primary_of(runs, name))


def _single(common: CommonScores, models: Sequence[ModelScores]) -> list[Group]:
    return [Group(name, [k], [""], mark=mark_of([models[k]])) for k, name in enumerate(common.names)]


def comparison_set(runs: Sequence[Run], on: str | None = None) -> tuple[str, list[str]]:
    """Return the set to compare runs on and what each run calls it: `on`, else the first test set in common, else validation.

    Raises:
        InputError: fewer than two runs, or no such set.
    """
    if len(runs) < 2:
        raise InputError(f"A comparison needs two runs or more, got {len(runs)}.")
    known = common_sets(runs)
    if on is None and not known:
        raise InputError("The runs have no test set in common. Evaluate all of them on the same test set first.")
    wanted = Path(on).stem if on else next(iter(known))
    for name, own in known.items():
        if wanted in (*own, set_id_of(runs[0], name)):
            return name, own
    sets = ", ".join(known) or "none"
    raise InputError(
        f"Not every run has scores on {wanted}. Sets in common: {sets}. Evaluate all runs on {wanted} first."
    )


def compare_models(models: Sequence[ModelScores], on: str, primary: Primary | None = None) -> Comparison:
    """Compare tables of scores with the first of them.

    Raises:
        InputError: fewer than two models, or no volume or finding in common.
    """
    if len(models) < 2:
        raise InputError(f"A comparison needs two runs or more, got {len(models)}.")
    common = keep_common(models)
    return compare_groups(common, _single(common, models), on, primary)


def convergence_warnings(runs: Sequence[Run]) -> list[str]:
    """Return one warning of the runs that have not converged, and one of those that cannot be compared with their optimum."""
    texts: dict[str, list[tuple[str, str]]] = {}
    for run in runs:
        if (found := convergence(run)) and (sentence := found.sentence()):
            texts.setdefault(found.mark, []).append((run.name, sentence))
    return [f"{_listed([name for name, _ in group], len(runs))}: {group[0][1]}" for group in texts.values()]


def _listed(names: Sequence[str], total: int) -> str:
    """Name one run, or the first of several and their number; say so where they are all of the total."""
    if len(names) == total > 1:
        return "Both runs" if total == 2 else f"All {total} runs"
    return names[0] if len(names) == 1 else f"{names[0]} and {plural(len(names) - 1, 'other run')}"


def mark_of(models: Sequence[ModelScores]) -> str:
    """Return the mark of a model, or of a recipe of which a run has one; empty without one."""
    found = (convergence(model.run) for model in models if model.run)
    return next((one.mark for one in found if one and one.mark), "")


def compare_groups(
    common: CommonScores, groups: Sequence[Group], on: str, primary: Primary | None = None
) -> Comparison:
    """Compare groups of layers of the common scores (L, N, C), models or recipes, with the first of them."""
    figures = measure(common.targets, common.scores, common.patients, common.labels)
    metrics = [
        row
        for group in groups
        for one in figures.values()
        for row in metric_rows(group.name, estimate(one, group.layers, group.overlap))
    ]
    layers, seeds = [group.layers for group in groups], [group.seeds for group in groups]
    overlap = max(group.overlap for group in groups)
    return assemble(
        common,
        groups,
        metrics,
        [
            Pair(group, groups[0], _difference(common, group, groups[0]), _values(figures, group, groups[0]))
            for group in groups[1:]
        ],
        {name: best_of(one, layers, seeds, level=ALPHA, overlap=overlap) for name, one in figures.items()},
        # Label counts alone decide which findings are eligible, so that all metrics agree.
        next(iter(figures.values())).eligible,
        on,
        primary,
    )


def assemble(
    common: CommonScores,
    groups: Sequence[Group],
    metrics: Sequence[Mapping[str, Any]],
    pairs: Sequence[Pair],
    best: dict[str, Best],
    eligible: list[str],
    on: str,
    primary: Primary | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Comparison:
    """Return a comparison from its parts, with the table of differences; ``settings`` are further ones."""
    warnings = [*common.warnings, *margin_warnings(primary)]
    own = {
        "swaps": 0,
        "unit": "patient",
        "seeds": [len(group.layers) for group in groups],
        "overlap": [group.overlap for group in groups],
        "level": ALPHA,
    }
    return Comparison(
        on=on,
        common=dataclasses.replace(common, names=[group.name for group in groups], warnings=warnings),
        metrics=pd.DataFrame(metrics),
        differences=pd.DataFrame(),
        best=best,
        eligible=eligible,
        disclosures=Disclosures(on, common.n, warnings=warnings),
        pairs=pairs,
        settings=own | dict(settings or {}),
        primary=primary,
    ).with_margin(None)


def compared_layers(first: Group, second: Group) -> tuple[list[int], list[int]]:
    """Return the layers of two groups that are compared: of their common seeds, else all of both."""
    rows, others, _ = match_seeds(first.seeds, second.seeds)
    return [first.layers[k] for k in rows], [second.layers[k] for k in others]


def column_means(figures: Figures, layers: Sequence[int] | None = None) -> dict[str, float]:
    """Return the mean of some layers, or of all, by column."""
    values = figures.value if layers is None else figures.value[list(layers)]
    return dict(zip(figures.columns, values.mean(axis=0).tolist()))


def _values(
    figures: Mapping[str, Figures], first: Group, second: Group
) -> dict[str, tuple[dict[str, float], dict[str, float]]]:
    mine, theirs = compared_layers(first, second)
    return {name: (column_means(one, mine), column_means(one, theirs)) for name, one in figures.items()}


def _difference(common: CommonScores, first: Group, second: Group) -> dict[str, Difference]:
    return recipe_difference(
        common.targets,
        common.scores[first.layers],
        common.scores[second.layers],
        (first.seeds, second.seeds),
        common.patients,
        common.labels,
        max(first.overlap, second.overlap),
    )
