"""Name the validation sets of a run store by their files and by what chose them, and order runs within them."""

from __future__ import annotations

import math
import re
import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Any

from ctbench_core.config import KEYS
from ctbench_core.runs.naming import keys_by_values, tell_apart, write_values

_NUMBER = re.compile(r"(.*?)(?: \((\d+)\))?", re.DOTALL)  # a name and the number of its set
_LISTED = 4
_KEYS = frozenset(name for name, info in KEYS.items() if info.scope == "data" or info.repeats)  # what may choose a set
_SEVERAL = "several"  # the value of a key in which the runs of one set differ: it does not choose the set

Rows = Sequence[Mapping[str, Any]]


def validation_set_names(rows: Rows) -> dict[str, str]:
    """Return the name of each validation set with metrics by its identity: its file, and what chose it of that file.

    Sets of one file are named by the settings in which they differ, ``valid.csv, budget 60, seed 1``; only where none
    does, by their number.

    Args:
        rows: of all training runs of the store, so that a set has one name in every list.
    """
    numbered = numbered_sets(rows)
    words = _with_words(rows, numbered)
    counts = Counter(words.values())
    numbers = {identity: _split(name)[1] for identity, name in numbered.items()}
    return {
        identity: f"{name} ({numbers[identity]})" if counts[name] > 1 and numbers[identity] > 1 else name
        for identity, name in words.items()
    }


def numbered_sets(rows: Rows) -> dict[str, str]:
    """Return another name of each validation set by its identity: its file, numbered by age where several share it."""
    scored = [row for row in rows if row["val_auprc"] is not None]
    oldest = sorted(scored, key=lambda row: (row["created"], row["run_id"]))
    return _numbered((row["validation_set"], row["validation_file"]) for row in oldest)


def _with_words(rows: Rows, numbered: Mapping[str, str]) -> dict[str, str]:
    """Return the file of each set, with the settings that distinguish those of one file."""
    files: dict[str, list[str]] = {}
    for identity, name in numbered.items():
        files.setdefault(_split(name)[0], []).append(identity)
    shared = {identity for sets in files.values() if len(sets) > 1 for identity in sets}
    chosen = _settings_by_set([row for row in rows if row["validation_set"] in shared])
    names: dict[str, str] = {}
    for file, sets in files.items():
        settings = [chosen.get(identity, {}) for identity in sets]
        every = range(len(sets))
        parts: list[list[str]] = [[file] for _ in sets]
        for place, _, text in tell_apart(settings, every, keys_by_values(settings, every), _write_values):
            parts[place].extend([text] if text else [])
        names |= {identity: ", ".join(own) for identity, own in zip(sets, parts)}
    return names


def _settings_by_set(rows: Rows) -> dict[str, dict[str, Any]]:
    """Return for each set the settings, other than defaults, that may have chosen it."""
    by_set: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        own = {name: value for name, value in row["settings"].items() if name in _KEYS}
        by_set.setdefault(row["validation_set"], []).append(own)
    return {identity: _in_common(settings) for identity, settings in by_set.items()}


def _in_common(settings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    first = settings[0]
    names = {name for one in settings for name in one}
    return {
        name: first[name] if all(one.get(name) == first.get(name) for one in settings) else _SEVERAL for name in names
    }


def _write_values(name: str, values: Sequence[Any]) -> list[str]:
    texts = iter(write_values(name, [value for value in values if value != _SEVERAL]))
    return ["" if value == _SEVERAL else next(texts) for value in values]


def _split(name: str) -> tuple[str, int]:
    """Return the name of a set without its number, and the number."""
    words, number = _NUMBER.fullmatch(name).groups()  # type: ignore[union-attr]
    return words, int(number or 1)


def joint_set_names(groups: Sequence[Iterable[tuple[str, str]]]) -> list[str]:
    """Return for each group of runs the name of all its validation sets: ``valid.csv, budget 60 (3 sets)``.

    Args:
        groups: for each the identity and name of the set of every run.
    """
    sets = [dict(sorted(group)) for group in groups]
    named = _numbered((" ".join(one), _joined(one.values())) for one in sets)
    return [named[" ".join(one)] for one in sets]


def _joined(names: Collection[str]) -> str:
    """Join names of sets: those of one name by their numbers, of one file by what all have and how many they are."""
    if len(names) < 2:
        return next(iter(names), "")
    files: dict[str, list[str]] = {}
    for name in names:
        files.setdefault(_split(name)[0].partition(", ")[0], []).append(name)
    return ", ".join(_joined_of_file(own) for _, own in sorted(files.items()))


def _joined_of_file(names: Sequence[str]) -> str:
    split = [_split(name) for name in names]
    words = [name.split(", ") for name, _ in split]
    common = list(takewhile(lambda part: all(part in own for own in words), words[0]))
    is_numbered = len({name for name, _ in split}) == 1
    which = _numbers([number for _, number in split]) if is_numbered else f"{len(names)} sets"
    return f"{', '.join(common)} ({which})"


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


def validation_mean(values: Iterable[float | None], sets: Collection[str]) -> tuple[float, float]:
    """Return mean and standard deviation of a validation metric over runs or seeds; NaN over several validation sets.

    Metrics on other volumes or labels differ by these too, so that their mean says nothing of the runs.

    Args:
        values: the metric of each; None and NaN are left out. sets: the validation sets that they are of.

    Returns:
        The mean, and the standard deviation of n - 1 degrees of freedom, NaN of one value.
    """
    known = [value for value in values if value is not None and not math.isnan(value)]
    if not known or len(set(sets)) > 1:
        return math.nan, math.nan
    return statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else math.nan


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
