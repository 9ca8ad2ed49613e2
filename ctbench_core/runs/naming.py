"""Name runs: a given name is kept, an automatic one begins with what differs; equal names get settings, else a time."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from ctbench_core.config import (
    KEYS,
    Config,
    changed_keys,
    default_of,
    differing_settings,
    effective_settings,
    setting_text,
    setting_texts,
)
from ctbench_core.errors import DamagedFile
from ctbench_core.label_leakage import encoder_name
from ctbench_core.runs.annotations import read_annotations
from ctbench_core.runs.store import Run

_TIMES = ("%H:%M", "{day} %b %H:%M", "{day} %b %H:%M:%S", "{day} %b %Y %H:%M:%S")  # the shortest that tells runs apart
_HEAD, _WIDTHS = "model._target_", "model.params.hidden_dims"
_ALWAYS = ("data.budget", "model.inputs")  # settings in every automatic name where runs differ in them
_OWN_PART = {_HEAD, _WIDTHS, *_ALWAYS}

Settings = Mapping[str, Any]  # those of `effective_settings`: a key that is absent has its default


def automatic_label(config: Config) -> str:
    """Return the automatic name of a run alone, without what is default: ``budget 40 · mlp 512 · seed 1``."""
    settings = effective_settings(changed_keys(config))
    parts = [setting_text(name, settings[name]) for name in _ALWAYS if name in settings]
    widths = _widths(settings.get(_WIDTHS))
    return " · ".join([*parts, " ".join(filter(None, [config.model.model_name, widths])), f"seed {config.utils.seed}"])


def is_named(run: Run) -> bool:
    """Whether people named a run, or it has no automatic name: predictions, alignments, imported runs."""
    try:
        given = read_annotations(run.paths.root).name
    except DamagedFile:  # which is reported where the run is shown
        given = ""
    if given or run.config.logging.run_name or run.status.kind != "train":
        return True
    model, seed = run.config.model, run.config.utils.seed
    before = rf"{re.escape(model.model_name)}( · [\d-]+)? · {re.escape(model.inputs)} · seed {seed}"  # until 0.1.1
    label = run.status.label
    return label != automatic_label(run.config) and not re.fullmatch(before, label)


def automatic_names(settings: Sequence[Settings], encoders: Sequence[str], heads: Sequence[str]) -> list[str]:
    """Return short names: settings in which runs of one head differ, as few as needed, then the head, then the seed.

    A default is left out, and what all have. Budget, inputs and encoder are named wherever runs differ in them.

    Args:
        settings, encoders, heads: of each run.
    """
    every = range(len(settings))
    parts = [[text for text in column if text] for column in zip(*_common_parts(settings, encoders))] or [
        [] for _ in every
    ]
    widths = [_widths(one.get(_WIDTHS)) for one in settings]
    sizes = Counter(head for head, _ in set(zip(heads, widths)))  # of each head, how many widths there are
    named = [f"{head} {width}" if width and sizes[head] > 1 else head for head, width in zip(heads, widths)]
    groups: dict[tuple[str, ...], list[int]] = {}
    for place in every:
        groups.setdefault((*parts[place], named[place]), []).append(place)
    first: dict[int, list[str]] = {}
    last: dict[int, list[str]] = {}
    for places in groups.values():
        for place, name, text in tell_apart(settings, places, _other_keys(settings, places), write_values):
            (last if KEYS[name].repeats else first).setdefault(place, []).extend([text] if text else [])
    return [" · ".join([*first.get(i, []), *parts[i], named[i], *last.get(i, [])]) for i in every]


def _other_keys(settings: Sequence[Settings], places: Sequence[int]) -> list[str]:
    return [name for name in keys_by_values(settings, places) if name not in _OWN_PART]


def _widths(value: Sequence[int] | None) -> str:
    return "" if value is None else "-".join(map(str, value)) or "none"


def _common_parts(settings: Sequence[Settings], encoders: Sequence[str]) -> list[list[str]]:
    several = len(set(encoders)) > 1
    return [
        *(_changed_texts(name, [one.get(name) for one in settings]) for name in _ALWAYS),
        setting_texts("paths.data_root", encoders) if several else [""] * len(encoders),
    ]


def _changed_texts(name: str, values: Sequence[Any]) -> list[str]:
    """Write the values of a setting; empty for a default, which is None, and where all are the same."""
    if all(value == values[0] for value in values):
        return [""] * len(values)
    texts = iter(setting_texts(name, [value for value in values if value is not None]))
    return [next(texts) if value is not None else "" for value in values]


def write_values(name: str, values: Sequence[Any]) -> list[str]:
    """Write the values of a setting that differs: of a seed all, of another setting those that are no default."""
    if KEYS[name].repeats:
        return setting_texts(name, [default_of(name) if value is None else value for value in values])
    return _changed_texts(name, values)


def keys_by_values(settings: Sequence[Settings], places: Sequence[int]) -> list[str]:
    """Return the keys in which settings differ, that of most values first; those of repeats, such as the seed, last."""
    present = {name for place in places for name in settings[place]}
    counts = {name: len({repr(settings[place].get(name)) for place in places}) for name in KEYS if name in present}
    differing = [name for name, count in counts.items() if count > 1]
    return sorted(differing, key=lambda name: (KEYS[name].repeats, -counts[name] if not KEYS[name].repeats else 0))


def tell_apart(
    settings: Sequence[Settings],
    places: Sequence[int],
    keys: Sequence[str],
    write: Callable[[str, Sequence[Any]], list[str]],
) -> Iterator[tuple[int, str, str]]:
    """Yield place, key and text of the settings that distinguish some, for each as few as do.

    Args:
        keys: in the order in which they are tried. write: the values of a key to their texts.
    """
    for number, name in enumerate(keys if len(places) > 1 else ()):
        values = [settings[place].get(name) for place in places]
        if all(value == values[0] for value in values):
            continue
        yield from ((place, name, text) for place, text in zip(places, write(name, values)))
        subsets: dict[str, list[int]] = {}
        for place, value in zip(places, values):
            subsets.setdefault(repr(value), []).append(place)
        for subset in subsets.values():
            yield from tell_apart(settings, subset, keys[number + 1 :], write)
        return


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
    """Write ISO times as short as distinguishes them: of one day the hour alone; empty where that distinguishes none."""
    if len(set(created)) < 2 or not all(created):
        return [""] * len(created)
    moments = [datetime.fromisoformat(time).astimezone() for time in created]
    days, years = {moment.date() for moment in moments}, {moment.year for moment in moments}
    for form in _TIMES[len(days) > 1 :] if len(years) == 1 else _TIMES[-1:]:
        texts = [moment.strftime(form.format(day=moment.day)) for moment in moments]
        if len(set(texts)) == len(texts):
            break
    return texts if len(set(texts)) > 1 else [""] * len(texts)


def run_names(runs: Sequence[Run]) -> list[str]:
    """Return the names of runs beside one another."""
    return _names_beside(
        [run.name for run in runs],
        [is_named(run) for run in runs],
        [effective_settings(changed_keys(run.config)) for run in runs],
        [str(run.config.model.model_name) for run in runs],
        [encoder_name(run.config) for run in runs],
        [run.status.created for run in runs],
    )


def recipe_names(configs: Sequence[Config]) -> list[str]:
    """Return the names of recipes beside one another, each given by the config of a run."""
    settings = [effective_settings(changed_keys(config)) for config in configs]
    recipes = [{name: value for name, value in one.items() if not KEYS[name].repeats} for one in settings]
    heads = [config.model.model_name for config in configs]
    return unique_names(automatic_names(recipes, list(map(encoder_name, configs)), heads))


def named_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of the run table under the names that `run_names` gives their runs beside one another.

    What a run is called alone stays in the cell ``own_name``.
    """
    cells = ("name", "is_named", "settings", "model_name", "encoder", "created")
    names = _names_beside(*([row[cell] for row in rows] for cell in cells))
    return [{**row, "name": name, "own_name": row["name"]} for row, name in zip(rows, names)]


def _names_beside(
    names: Sequence[str],
    is_named: Sequence[bool],
    settings: Sequence[Settings],
    heads: Sequence[str],
    encoders: Sequence[str],
    created: Sequence[str],
) -> list[str]:
    """Return names of which no two are equal: given ones as they are, automatic ones beside one another."""
    own = [place for place, given in enumerate(is_named) if not given]
    beside = list(names)
    automatic = automatic_names(
        [settings[place] for place in own], [encoders[place] for place in own], [heads[place] for place in own]
    )
    for place, name in zip(own, automatic):
        beside[place] = name
    repeated = [place for places in _equal(beside) for place in places]
    full: list[dict[str, Any]] = [{} for _ in beside]
    for place, values in zip(repeated, _filled([settings[place] for place in repeated])):
        full[place] = values
    return unique_names(beside, full, created)


def _filled(settings: Sequence[Settings]) -> list[dict[str, Any]]:
    """Return the same keys for all, defaults included, in the order of the keys."""
    present = {name for one in settings for name in one}
    names = [name for name in KEYS if name in present]
    return [{name: one.get(name, default_of(name)) for name in names} for one in settings]
