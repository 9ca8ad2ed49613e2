"""Name the validation sets of a run store by their files (``valid.csv``, ``valid.csv (2)``), and order runs within them."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

_NUMBER = re.compile(r"(.*?)(?: \((\d+)\))?", re.DOTALL)  # a file and the number of its set
_LISTED = 4


def validation_set_names(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the name of each validation set with metrics by its identity: its file, numbered by age where several share it.

    Args:
        rows: of all training runs of the store, so that a set has one name in every list.
    """
    scored = [row for row in rows if row["val_auprc"] is not None]
    oldest = sorted(scored, key=lambda row: (row["created"], row["run_id"]))
    return _numbered((row["validation_set"], row["validation_file"]) for row in oldest)


def joint_set_names(groups: Sequence[Iterable[tuple[str, str]]]) -> list[str]:
    """Return for each group of runs the name of all its validation sets: ``valid.csv (1, 3)``, of many their number.

    Args:
        groups: for each the identity and name of the set of every run.
    """
    sets = [dict(sorted(group)) for group in groups]
    named = _numbered((" ".join(one), _joined(one.values())) for one in sets)
    return [named[" ".join(one)] for one in sets]


def _joined(names: Collection[str]) -> str:
    """Join names of sets; those of one file by their numbers."""
    if len(names) < 2:
        return next(iter(names), "")
    files: dict[str, list[int]] = {}
    for file, number in (_NUMBER.fullmatch(name).groups() for name in names):  # type: ignore[union-attr]
        files.setdefault(file, []).append(int(number or 1))
    return ", ".join(f"{file} ({_numbers(numbers)})" for file, numbers in sorted(files.items()))


def _numbers(numbers: Sequence[int]) -> str:
    return f"{len(numbers)} sets" if len(numbers) > _LISTED else ", ".join(map(str, sorted(numbers)))


def _numbered(names: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return names by identity; the second of one name is followed by (2), and so on."""
    numbered: dict[str, str] = {}
    seen = Counter[str]()
    for identity, name in names:
        if identity not in numbered:
            seen[name] += 1
            numbered[identity] = name if seen[name] == 1 else f"{name} ({seen[name]})"
    return numbered


def set_ranks(sets: Sequence[str], created: Sequence[str]) -> list[int]:
    """Return the rank of each row's validation set: the set of most rows first, then the newest."""
    sizes: dict[str, tuple[int, str]] = {}
    for name, moment in zip(sets, created):
        count, newest = sizes.get(name, (0, ""))
        sizes[name] = (count + 1, max(newest, moment))
    ranks = {name: rank for rank, name in enumerate(sorted(sizes, key=sizes.__getitem__, reverse=True))}
    return [ranks[name] for name in sets]


def best_order(sets: Sequence[str], created: Sequence[str], values: Sequence[float | None]) -> list[int]:
    """Return the positions of runs by a validation metric, best first within each validation set, the set of most runs first.

    Runs without a value come last.

    Args:
        sets, created, values: of each run its validation set, when it was made, and the metric.
    """
    ranks = set_ranks(sets, created)
    filled = [value is not None and not math.isnan(value) for value in values]
    keys = [
        (not has, rank, -value if has and value is not None else 0.0) for rank, has, value in zip(ranks, filled, values)
    ]
    return sorted(range(len(keys)), key=keys.__getitem__)
