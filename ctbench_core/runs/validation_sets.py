"""Name the validation sets of a run store by their files: ``valid.csv``, and ``valid.csv (2)`` where another set shares it."""

from __future__ import annotations

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
