"""Figures and tables from the nearest candidates of every direction, gathered for one result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch

from ctbench_core.alignment.composition import (
    MOST_LABEL_VECTORS,
    TOO_MANY_LABELS,
    Retrieved,
    by_finding,
    graded,
    hubness,
    hubs,
    neighbours,
    occurrences,
)
from ctbench_core.alignment.direction import Direction, Truth
from ctbench_core.alignment.nearest import Labels
from ctbench_core.alignment.vectors import Side

# Nearest candidates a query that are stored for browsing.
STORED = 20


@dataclass
class More:
    """Figures by sample (N,) and by name, plain figures, tables, and why something is undefined."""

    by_query: dict[str, np.ndarray] = field(default_factory=dict)
    plain: dict[str, float] = field(default_factory=dict)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    undefined: dict[str, str] = field(default_factory=dict)

    def figures(self) -> dict[str, Any]:
        """Return the means of all figures."""
        found: dict[str, Any] = dict(self.plain)
        for name, values in self.by_query.items():
            known = values[~np.isnan(values)]
            found[name] = float(known.mean()) if len(known) else float("nan")
        return found

    def add(
        self,
        way: str,
        one: Retrieved,
        groups: np.ndarray,
        ks: Sequence[int],
        labels: Labels | None,
        names: Sequence[str],
    ) -> None:
        """Take what the nearest candidates of a direction tell; they need not be kept after it."""
        depth = one.nearest.item.shape[1]
        depths = [k for k in ks if k <= depth or depth == len(one.gallery.vectors)]
        counts = occurrences(one)
        self.plain |= {f"{way}_hub_{name}": value for name, value in hubness(counts).items()}
        self._append("hubs", hubs(counts).assign(direction=way))
        if not one.within:
            self.tables[f"neighbours_{way}"] = neighbours(one, groups, STORED)
        if labels is not None:
            self.by_query |= {f"graded_{way}_{name}": value for name, value in graded(one, labels, depths).items()}
            self._append("findings", by_finding(one, labels.targets, names, depths).assign(direction=way))
            if len(labels.distinct) > MOST_LABEL_VECTORS:
                self.undefined |= {f"graded_{way}_ndcg_at_{k}": TOO_MANY_LABELS for k in depths}

    def _append(self, name: str, table: pd.DataFrame) -> None:
        before = [self.tables[name]] if name in self.tables else []
        self.tables[name] = pd.concat([*before, table], ignore_index=True)


def ctclip_map(
    image: Side, labels: Labels, ks: Sequence[int], device: torch.device, depth: int
) -> dict[str, np.ndarray]:
    """Return MAP@K in CT-CLIP's sense, by sample (N,): the mean label-Jaccard of the K nearest volumes with a finding.

    As in its scripts all volumes are queries and only volumes with a finding are candidates, so that a query without
    a finding scores 0; unlike there a query is not its own candidate. It is no average precision in the usual sense.
    """
    rows = np.flatnonzero((labels.targets == 1).any(axis=1))
    if len(rows) < 2:
        return {}
    kept, folded = np.unique(image.of_sample[rows], return_inverse=True)
    side = Side(image.vectors[kept], folded)
    direction = Direction(side, side, Truth(np.arange(len(rows)), None), (1,), device)
    found = direction.run(1024, lambda done: None, None, count_pairs=False, nearest=depth)
    assert found.nearest is not None
    one = Retrieved(found.nearest, direction.of_sample, side, within=True)
    figures = graded(one, Labels(labels.distinct, labels.of_sample[rows]), ks)
    by_sample = {}
    for k in ks:
        if f"jaccard_at_{k}" in figures:
            values = by_sample[f"ctclip_v_to_v_map_at_{k}"] = np.zeros(len(labels.of_sample))
            values[rows] = figures[f"jaccard_at_{k}"]
    return by_sample
