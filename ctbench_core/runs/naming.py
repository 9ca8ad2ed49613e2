"""Name runs beside one another: each by its name, equal names by the settings in which their runs differ, else by time."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ctbench_core.config import KEYS, differing_settings, values_for
from ctbench_core.runs.store import Run

_TIMES = ("%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S")  # the shorter where it distinguishes the runs
_REPEATS = [name for name, info in KEYS.items() if info.repeats and info.counts_for("identity")]


def unique_names(
    names: Sequence[str], settings: Sequence[Mapping[str, Any]] = (), created: Sequence[str] = ()
) -> list[str]:
    """Make names distinct, whole: equal ones get the settings in which they differ, then a time, then a number.

    Args:
        settings: for each name its values by config key, the same keys for all.
        created: for each name its ISO time; it is written in the time zone of this machine.
    """
    distinct = list(names)
    if settings:
        for places in _equal(distinct):
            _extend(distinct, places, differing_settings([settings[place] for place in places]))
    if created:
        for places in _equal(distinct):
            _extend(distinct, places, _times([created[place] for place in places]))
    for places in _equal(distinct):
        for number, place in enumerate(places, start=1):
            distinct[place] = f"{distinct[place]} ({number})"
    return distinct


def _equal(names: Sequence[str]) -> list[list[int]]:
    """Return the places of names that occur more than once, name by name."""
    counts = Counter(names)
    places: dict[str, list[int]] = {name: [] for name, count in counts.items() if count > 1}
    for place, name in enumerate(names) if places else ():
        if name in places:
            places[name].append(place)
    return list(places.values())


def _extend(names: list[str], places: Sequence[int], texts: Sequence[str]) -> None:
    for place, text in zip(places, texts):
        names[place] = " · ".join(filter(None, [names[place], text]))


def _times(created: Sequence[str]) -> list[str]:
    """Write ISO times to the minute, to the second where minutes are equal; empty where that distinguishes none."""
    if len(set(created)) < 2 or not all(created):
        return [""] * len(created)
    moments = [datetime.fromisoformat(time).astimezone() for time in created]
    for form in _TIMES:
        texts = [moment.strftime(form) for moment in moments]
        if len(set(texts)) == len(texts):
            break
    return texts if len(set(texts)) > 1 else [""] * len(texts)


def run_names(runs: Sequence[Run]) -> list[str]:
    """Return the names of runs beside one another."""
    return unique_names(
        [run.name for run in runs],
        [values_for(run.config, "identity") for run in runs],
        [run.status.created for run in runs],
    )


def named_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of the run table under the names that `run_names` gives their runs beside one another.

    What a run is called alone stays in the cell ``own_name``.
    """
    names = [str(row["name"]) for row in rows]
    repeated = {place for places in _equal(names) for place in places}
    settings = [_settings(row) if place in repeated else {} for place, row in enumerate(rows)]
    named = unique_names(names, settings, [row["created"] for row in rows])
    return [{**row, "name": name, "own_name": own} for row, name, own in zip(rows, named, names)]


def _settings(row: Mapping[str, Any]) -> dict[str, Any]:
    return _recipe(row["recipe"]) | {name: row["changed"].get(name, KEYS[name].default) for name in _REPEATS}


@functools.lru_cache(maxsize=10_000)
def _recipe(text: str) -> dict[str, Any]:
    recipe: dict[str, Any] = json.loads(text)
    return recipe
