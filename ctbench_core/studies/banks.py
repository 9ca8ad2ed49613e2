"""Divide the runs of a study into banks, which train together: of like budgets, and of nearly equal work."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Hashable, Mapping, Sequence

from ctbench_core.config import Config

# Enough runs to share the passes over the features, few enough for workers to share a study and a kill to cost little.
BANK_RUNS = 32
_ALL = 10**9


def by_budget(config: Config) -> int:
    """Order configs by their label budget; without one last."""
    return config.data.budget or _ALL


def assign_banks(
    configs: Mapping[str, Config],
    bank_key: Callable[[Config], Hashable],
    work: Callable[[Config], float],
    bank_runs: int,
    first: int,
) -> dict[str, int]:
    """Return the bank of each run by id, counted from ``first``, those of little work first.

    Args:
        bank_key: equal for runs that may train together.
        work: what a run costs beside others of its key, in any unit.
        bank_runs: most runs of a bank.
    """
    groups: dict[Hashable, list[str]] = {}
    for name in sorted(configs, key=lambda name: by_budget(configs[name])):  # heads of as many steps step together
        groups.setdefault(bank_key(configs[name]), []).append(name)
    costs = {name: work(config) for name, config in configs.items()}
    banks = [bank for names in groups.values() for bank in _divide(names, costs, bank_runs)]
    banks.sort(key=lambda bank: sum(costs[name] for name in bank))
    return {name: number for number, bank in enumerate(banks, first) for name in bank}


def _divide(names: Sequence[str], costs: Mapping[str, float], bank_runs: int) -> list[Sequence[str]]:
    """Divide runs, in order, into parts of nearly equal cost, and those of too many runs evenly."""
    count = -(-len(names) // bank_runs)
    ends = list(itertools.accumulate(costs[name] for name in names))
    middles = [end - costs[name] / 2 for name, end in zip(names, ends)]
    cuts = [bisect.bisect_left(middles, ends[-1] * part / count) for part in range(count)] + [len(names)]
    parts = [names[start:end] for start, end in itertools.pairwise(cuts)]
    return [bank for part in parts for bank in _even(part, -(-len(part) // bank_runs))]


def _even(names: Sequence[str], count: int) -> list[Sequence[str]]:
    return [names[part * len(names) // count : (part + 1) * len(names) // count] for part in range(count)]
