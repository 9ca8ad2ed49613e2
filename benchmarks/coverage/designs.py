"""Read designs of simulations: what is drawn, from YAML files."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from benchmarks.cohorts import Law, seed_mean, strength

FINDINGS = 3
IN_GROUP = 0.4  # of patients, in a subgroup
GRIDS = {name: Path(__file__).with_name(f"{name}.yaml") for name in ("tuning", "judging")}


@dataclass(frozen=True)
class Design:
    """A cell of a grid.

    Attributes:
        kind: ``models`` (one model, pairs, recipes, subgroups, thresholds, calibration), ``folds`` or ``retrieval``.
        prevalence, auroc: of all findings, or of each; of retrieval, `auroc` is Recall@K.
        patients: their number. clusters, labels, tails, is_ordinal: as `benchmarks.cohorts.Law`.
        spread: deviation of positive rows relative to negative ones. second_spread: that of the second model.
        gap: by how much the second model and recipe are weaker, in deviations of the score; 0: of equal AUROC.
        seed_spread: deviation of a seed's strength, of both recipes. is_paired: seeds of both recipes share half of it.
        overlap: mean share of training patients of two seeds. seeds: of each recipe.
        extra: also rank swaps and the best of several, which take longer.
    """

    name: str
    kind: str = "models"
    prevalence: tuple[float, ...] = (0.1,) * FINDINGS
    auroc: tuple[float, ...] = (0.8,) * FINDINGS
    patients: int = 400
    clusters: str = "ct-rate"
    labels: str = "stay"
    tails: str = "normal"
    is_ordinal: bool = False
    spread: float = 1.0
    second_spread: float | None = None
    gap: float = 0.25
    seed_spread: tuple[float, float] = (0.08, 0.08)
    is_paired: bool = True
    overlap: float = 0.0
    seeds: tuple[int, ...] = (3, 5)
    extra: bool = False

    @property
    def law(self) -> Law:
        return Law(self.prevalence, self.clusters, self.labels, self.tails, self.is_ordinal)

    @property
    def is_null(self) -> bool:
        return self.gap == 0

    def means(self) -> list[float]:
        """Return the strength of each finding in the first model."""
        return [strength(auroc, self.tails, self.spread) for auroc in self.auroc]

    def second(self) -> tuple[list[float], float]:
        """Return strengths and spread of the second model: weaker by the gap, or of equal AUROC."""
        spread = self.spread if self.second_spread is None else self.second_spread
        return [strength(auroc, self.tails, spread) - self.gap for auroc in self.auroc], spread

    def second_recipe(self) -> list[float]:
        """Return strengths of the second recipe, whose seeds have the same mean AUROC but for the gap."""
        return [seed_mean(mean, self.spread, *self.seed_spread) - self.gap for mean in self.means()]


def read_designs(path: Path) -> list[Design]:
    """Read the designs of a grid. Raises ValueError for unknown keys or names that repeat."""
    designs = [_design(entry) for entry in yaml.safe_load(path.read_text(encoding="utf-8"))]
    names = [design.name for design in designs]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"{path.name}: names repeat: {', '.join(sorted(repeated))}.")
    return designs


def _design(entry: dict[str, Any]) -> Design:
    known = {field.name for field in fields(Design)}
    if unknown := set(entry) - known:
        raise ValueError(f"{entry.get('name')}: unknown keys: {', '.join(sorted(unknown))}.")
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    for key in {"prevalence", "auroc"} & set(values):
        if not isinstance(values[key], tuple):
            values[key] = (float(values[key]),) * FINDINGS
    return Design(**values)
