"""Write label budgets and folds as manifest files for other tools; our own runs need only ``data.budget``.

<train>_n<budget>_s<seed>.csv, ..._val.csv           without folds
<prefix>_f<fold>_n<budget>_s<seed>.csv, ..._val.csv  with folds, counted from 1, and <prefix>_f<fold>_test.csv
manifest_index.csv                                   one row a pair of manifests
selection_index.csv                                  the chosen volumes, to choose the same for another label source
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ctbench_core.atomic import write_csv
from ctbench_core.config import Config
from ctbench_core.dataset import ManifestCache, Splits, check_paths, make_splits
from ctbench_core.errors import ConfigError
from ctbench_core.features import check_allowed
from ctbench_core.formatting import plural
from ctbench_core.manifest import Selection, units_of, write_selections

MANIFEST_INDEX, SELECTION_INDEX = "manifest_index.csv", "selection_index.csv"


def write_budget_files(
    config: Config, budgets: Sequence[int | None], seeds: Sequence[int], folder: Path, prefix: str | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """Write the manifests of every fold, budget and seed and both indexes; return the first index, and warnings.

    The unit is ``data.budget_unit``; a budget includes its validation rows. A budget above the number of units takes
    all of them and gives a warning. ``data.selection`` repeats the choice of another label source.

    Args:
        budgets: None takes everything.
        prefix: start of the file names; by default the training manifest's name.

    Raises:
        InputError: a manifest, a budget or the folder is unusable.
    """
    check_paths(config)
    check_allowed(folder)
    if not budgets or not seeds:
        raise ConfigError("Give at least one budget and one seed: budgets=[50,100] seeds=[42].")
    stem, unit = prefix or Path(config.data.train_manifest).stem, config.data.budget_unit
    folds = range(config.data.kfold.folds) if config.data.kfold.folds else [None]
    rows: list[dict[str, Any]] = []
    selections: list[Selection] = []
    warnings: dict[str, None] = {}
    cache = ManifestCache()
    for fold, seed, budget in ((fold, seed, budget) for fold in folds for seed in seeds for budget in budgets):
        splits, units = _draw(config, fold, budget, seed, cache)
        warnings |= dict.fromkeys(splits.warnings)
        if budget is not None and units < budget:
            warnings[f"Budget {budget}: only {plural(units, unit)} available; all are used."] = None
        sizes = {"budget": budget or units, "seed": seed, "sample_unit": unit}
        sizes |= {"requested_budget": budget or units, "effective_budget": units}
        rows.append(_write(splits, fold, sizes, folder, stem))
        selections.append(Selection(budget or units, seed, splits.train.volumes, splits.val.volumes))
    index = pd.DataFrame(rows)
    write_csv(folder / MANIFEST_INDEX, index)
    if not config.data.kfold.folds:  # within a fold, the volumes follow from the fold's own test set
        write_selections(folder / SELECTION_INDEX, selections)
    return index, list(warnings)


def _draw(config: Config, fold: int | None, budget: int | None, seed: int, cache: ManifestCache) -> tuple[Splits, int]:
    """Draw one budget; return the splits, and how many units they hold."""
    drawn = config.copy()
    drawn.data.budget, drawn.data.budget_seed = None, seed
    if fold is not None:
        drawn.data.kfold.fold = fold
    if config.data.selection is None:
        whole = make_splits(drawn, cache=cache)
        units = _count_units(whole, config)
        if budget is None or budget >= units:
            return whole, units
    drawn.data.budget = budget
    splits = make_splits(drawn, cache=cache)
    return splits, _count_units(splits, config)


def _count_units(splits: Splits, config: Config) -> int:
    return sum(len(set(units_of(side, config.data.budget_unit))) for side in (splits.train, splits.val))


def _write(splits: Splits, fold: int | None, sizes: dict[str, Any], folder: Path, stem: str) -> dict[str, Any]:
    """Write the manifests of one draw, and return its row of the index."""
    fold_part = "" if fold is None else f"_f{fold + 1}"
    name = f"{stem}{fold_part}_n{sizes['budget']}_s{sizes['seed']}"
    test = "" if splits.fold is None else f"{stem}{fold_part}_test.csv"
    names = {"train": f"{name}.csv", "val": f"{name}_val.csv", "test": test}
    sides = {"train": splits.train, "val": splits.val, "test": splits.fold}
    for side, manifest in sides.items():
        if manifest is not None:
            write_csv(folder / names[side], manifest.frame)
    row: dict[str, Any] = {} if fold is None else {"fold": fold + 1}
    row |= sizes
    row |= {f"{side}_rows": 0 if manifest is None else len(manifest) for side, manifest in sides.items()}
    return row | {f"{side}_manifest": names[side] for side in sides}
