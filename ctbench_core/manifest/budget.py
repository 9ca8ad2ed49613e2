"""Label budgets: nested selections of patients, exams or volumes, the same for every label source.

A budget counts training and validation units together. Each side's units get one order, and a budget takes the
beginning of both: budgets of one seed are nested, and no unit changes sides. The order is random whatever the labels
(``random``), or begins with units that show a positive or a negative of a finding for the first time (``covering``):
small budgets then show each finding, at a prevalence that is no longer the cohort's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from ctbench_core.atomic import write_csv
from ctbench_core.config import AutoSplitConfig
from ctbench_core.errors import ConfigError, ManifestError, first_rows
from ctbench_core.manifest.manifest import Manifest, clean_names
from ctbench_core.manifest.split import join_manifests, split_by_group, units_of
from ctbench_core.tables import read_table

_COLUMNS = ("budget", "seed", "selection_value")  # as other tools of this field write them; ours adds split
_SPLIT = "split"
_ROLES = ("train", "val", "test")


@dataclass(frozen=True)
class Selection:
    """The volumes of one budget and seed, by name and role.

    ``val`` is empty where a file has no split; ``test`` holds the volumes of a held-out fold.
    """

    budget: int
    seed: int
    train: np.ndarray
    val: np.ndarray
    test: np.ndarray = field(default_factory=lambda: np.empty(0, object))


class DrawingOrder:
    """The units of one side (0 training, 1 validation) in the order in which budgets take them."""

    def __init__(self, manifest: Manifest, unit: str, seed: int, side: int, draw: str = "random") -> None:
        self.manifest, self.unit = manifest, unit
        codes, names = pd.factorize(pd.Series(units_of(manifest, unit)), sort=True)
        order = np.random.default_rng([seed, side]).permutation(len(names))
        if draw == "covering":
            order = _cover_first(order, _presence(manifest, codes, len(names)))
        ranks = np.empty(len(names), dtype=np.int64)
        ranks[order] = np.arange(len(names))
        self.count, self.ranks = len(names), ranks[codes]  # ranks: the place of each volume's unit in the order

    def __len__(self) -> int:
        return self.count

    def first(self, count: int) -> np.ndarray:
        """Mark the rows of the first units, bool (N,)."""
        return self.ranks < count


def draw_rows(train: DrawingOrder, val: DrawingOrder, budget: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Mark the rows of a budget on both sides; None takes all units.

    Raises:
        ConfigError: the budget is below 2 or above the number of units.
    """
    total = len(train) + len(val)
    budget = total if budget is None else budget
    if not 2 <= budget <= total:
        names = f"{train.manifest.name} and {val.manifest.name}"
        raise ConfigError(
            f"Budget {budget} is not possible: {names} hold {total} {train.unit}s. "
            f"Set data.budget to a number from 2 to {total}."
        )
    val_count = min(max(int(budget * len(val) / total + 0.5), 1), budget - 1)
    return train.first(budget - val_count), val.first(val_count)


def _presence(manifest: Manifest, codes: np.ndarray, count: int) -> np.ndarray:
    """Mark which unit has a positive and which a negative of each finding, bool of shape (units, 2C)."""
    present = np.zeros((count, 2 * len(manifest.labels)), dtype=bool)
    np.logical_or.at(present, codes, np.c_[manifest.targets == 1, manifest.targets == 0])
    return present


def _cover_first(order: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Bring forward the first unit of an order that shows each class of each finding, rarest first."""
    shuffled = present[order]
    seen = np.zeros(present.shape[1], dtype=bool)
    front: list[int] = []
    for kind in np.argsort(present.sum(axis=0)):
        if not seen[kind] and shuffled[:, kind].any():
            front.append(int(shuffled[:, kind].argmax()))
            seen |= shuffled[front[-1]]
    return order[np.r_[front, np.setdiff1d(np.arange(len(order)), front)].astype(np.int64)]


def apply_selection(selection: Selection, manifests: Sequence[Manifest]) -> tuple[Manifest, Manifest]:
    """Return a selection's training and validation rows of a label source, in the selection's order.

    The source may keep its volumes in one manifest or in several. A selection without a split is split by patient
    with its seed and without stratification, so that every label source gets the same sides.

    Raises:
        ManifestError: the source lacks volumes of the selection.
    """
    pool = join_manifests(manifests)
    name = f"the selection of budget {selection.budget}, seed {selection.seed}"
    select_volumes(pool, np.concatenate([selection.train, selection.val]), name)  # one message for both sides
    train = select_volumes(pool, selection.train)
    if len(selection.val):
        return train, select_volumes(pool, selection.val)
    return split_by_group(train, AutoSplitConfig(stratify=False), selection.seed)


def select_volumes(manifest: Manifest, volumes: np.ndarray, origin: str = "the selection") -> Manifest:
    """Return the rows of the named volumes, in the order of the names.

    Raises:
        ManifestError: the manifest lacks any.
    """
    rows = pd.Index(manifest.volumes).get_indexer(volumes)
    absent = volumes[rows < 0]
    if len(absent):
        raise ManifestError(
            f"{manifest.name} lacks {first_rows(absent, 'volume')} of {origin}. Label sources are compared on "
            "the same volumes: draw the selection from volumes that all of them have."
        )
    return manifest.select(rows)


def choose_selection(path: Path, selections: Sequence[Selection], budget: int | None, seed: int) -> Selection:
    """Return the one selection of a file, or the one of this budget and seed where it holds several.

    Raises:
        ConfigError: none fits, or several do.
    """
    matches = [s for s in selections if budget in (None, s.budget)]
    if len(matches) > 1:
        matches = [s for s in matches if s.seed == seed]
    if len(matches) != 1:
        known = ", ".join(f"budget {s.budget} seed {s.seed}" for s in selections[:8])
        wanted = f"seed {seed}" if budget is None else f"budget {budget} and seed {seed}"
        raise ConfigError(
            f"{path} has {len(matches) or 'no'} selection{'s' * (len(matches) > 1)} of {wanted}; it has {known}. "
            "Choose one with data.budget and data.budget_seed."
        )
    return matches[0]


def write_selections(path: Path, selections: Sequence[Selection]) -> None:
    """Write selections as a CSV of budget, seed, selection_value (the volume) and split."""
    frames = [
        pd.DataFrame({"budget": s.budget, "seed": s.seed, "selection_value": names, _SPLIT: split})
        for s in selections
        for split, names in zip(_ROLES, (s.train, s.val, s.test))
    ]
    write_csv(Path(path), pd.concat(frames))


def read_selections(path: Path) -> list[Selection]:
    """Read the selections of a CSV, in its order; the column split may be absent.

    Raises:
        ManifestError: the file is unreadable, lacks a column, or holds other values.
    """
    frame, _ = read_table(Path(path))
    lines = frame.index.to_numpy() + 2
    absent = [name for name in _COLUMNS if name not in frame]
    if absent:
        raise ManifestError(f"Selection {path} has no column {', '.join(absent)}; it has {', '.join(frame)}.")
    numbers = frame[["budget", "seed"]].apply(pd.to_numeric, errors="coerce")
    splits = frame[_SPLIT].str.strip() if _SPLIT in frame else pd.Series("train", index=frame.index)
    whole = (numbers.abs() <= 2**53) & (numbers % 1 == 0)
    bad = lines[(~whole.all(axis=1) | ~splits.isin(_ROLES)).to_numpy()]
    if len(bad):
        raise ManifestError(
            f"Selection {path}, line {first_rows(bad)}: budget and seed must be whole numbers, "
            "split must be train, val or test."
        )
    frame = numbers.astype(np.int64).assign(split=splits, volume=clean_names(frame["selection_value"]))
    repeated = lines[frame.duplicated(["budget", "seed", "volume"]).to_numpy()]
    if len(repeated):
        raise ManifestError(
            f"Selection {path}: duplicate volume in one budget and seed, on line {first_rows(repeated)}. "
            "Keep one row, of one split."
        )
    return [
        Selection(int(budget), int(seed), *(part["volume"][part["split"] == s].to_numpy(dtype=object) for s in _ROLES))
        for (budget, seed), part in frame.groupby(["budget", "seed"], sort=False)
    ]
