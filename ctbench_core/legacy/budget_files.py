"""Label budgets and folds written out as manifests, for tools that read files: ours need only ``data.budget``.

<train>_n<budget>_s<seed>.csv, ..._val.csv           without folds
<prefix>_f<fold>_n<budget>_s<seed>.csv, ..._val.csv  with folds, counted from 1, and <prefix>_f<fold>_test.csv
manifest_index.csv                                   one row a pair of manifests
selection_index.csv                                  the volumes chosen, to draw the same for another label source
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ctbench_core.atomic import write_bytes
from ctbench_core.config import Config
from ctbench_core.dataset import Sources, Splits, check_places, make_splits
from ctbench_core.errors import ConfigError
from ctbench_core.features import check_allowed
from ctbench_core.manifest import Manifest, Selection, units_of, write_selections

INDEX, SELECTIONS = "manifest_index.csv", "selection_index.csv"


def write_budget_files(
    config: Config, budgets: Sequence[int | None], seeds: Sequence[int], folder: Path, prefix: str | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """Write the manifests of every fold, budget and seed and both indexes; return the index, and warnings.

    A budget above what there is means all of it, and is said. The unit is ``data.budget_unit``; the budget's rows for
    validation come out of it. ``data.selection`` repeats the choice of another label source.

    Args:
        budgets: None takes everything.
        prefix: begin of the files' names; by default the training manifest's name.

    Raises:
        InputError: a manifest, a budget or the folder is at fault.
    """
    check_places(config)
    check_allowed(folder)
    if not budgets or not seeds:
        raise ConfigError("Give at least one budget and one seed: budgets=[50,100] seeds=[42].")
    stem = prefix or Path(config.data.train_manifest).stem
    folds = range(config.data.kfold.folds) if config.data.kfold.folds else [None]
    rows: list[dict[str, Any]] = []
    selections: list[Selection] = []
    warnings: dict[str, None] = {}
    sources = Sources()
    for fold in folds:
        for seed in seeds:
            for budget in budgets:
                splits, units = _drawn(config, fold, budget, seed, sources)
                warnings |= dict.fromkeys(splits.warnings)
                if budget is not None and units < budget:
                    warnings[f"Budget {budget}: there are {units} {config.data.budget_unit}s; all are taken."] = None
                rows.append(_write(splits, fold, budget or units, units, seed, folder, stem, config.data.budget_unit))
                selections.append(_selection(splits, budget or units, seed))
    index = pd.DataFrame(rows)
    write_bytes(folder / INDEX, index.to_csv(index=False, lineterminator="\n").encode())
    if not config.data.kfold.folds:  # of a fold, a selection tells the volumes by the fold's own test
        write_selections(folder / SELECTIONS, selections)
    return index, list(warnings)


def _drawn(config: Config, fold: int | None, budget: int | None, seed: int, sources: Sources) -> tuple[Splits, int]:
    """Draw one budget; return the splits, and how many units they hold."""
    asked = config.copy()
    asked.data.budget, asked.data.budget_seed = None, seed
    if fold is not None:
        asked.data.kfold.fold = fold
    if config.data.selection is None:
        whole = make_splits(asked, sources=sources)
        units = _units(whole, config)
        if budget is None or budget >= units:
            return whole, units
    asked.data.budget = budget
    splits = make_splits(asked, sources=sources)
    return splits, _units(splits, config)


def _units(splits: Splits, config: Config) -> int:
    return sum(len(set(units_of(side, config.data.budget_unit))) for side in (splits.train, splits.val))


def _selection(splits: Splits, budget: int, seed: int) -> Selection:
    return Selection(budget, seed, splits.train.volumes, splits.val.volumes)


def _write(
    splits: Splits, fold: int | None, budget: int, units: int, seed: int, folder: Path, stem: str, unit: str
) -> dict[str, Any]:
    """Write the manifests of one draw, and return its row of the index."""
    place = "" if fold is None else f"_f{fold + 1}"
    names = {
        "train": f"{stem}{place}_n{budget}_s{seed}.csv",
        "val": f"{stem}{place}_n{budget}_s{seed}_val.csv",
        "test": "" if splits.fold is None else f"{stem}{place}_test.csv",
    }
    sides = {"train": splits.train, "val": splits.val, "test": splits.fold}
    for side, manifest in sides.items():
        if manifest is not None:
            _write_manifest(folder / names[side], manifest)
    row: dict[str, Any] = {} if fold is None else {"fold": fold + 1}
    row |= {"budget": budget, "seed": seed, "sample_unit": unit, "requested_budget": budget, "effective_budget": units}
    row |= {f"{side}_rows": 0 if manifest is None else len(manifest) for side, manifest in sides.items()}
    return row | {f"{side}_manifest": names[side] for side in sides}


def _write_manifest(path: Path, manifest: Manifest) -> None:
    write_bytes(path, manifest.frame.to_csv(index=False, lineterminator="\n").encode())
