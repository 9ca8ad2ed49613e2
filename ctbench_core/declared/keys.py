"""Declare a config key or a parameter of a loss or head: its default, help, scope, label and bounds.

A key's *scope* says what a change of its value changes. Which runs may train together, which are the same run or
repeats of one recipe, and what a resume may change follow from it (`USES`), so a new key needs no other list.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Any, Literal

_DEFAULT: Any = object()

Scope = Literal["bank", "stack", "head", "data", "place", "machine", "after", "describes"]

SCOPES: dict[Scope, str] = {
    "bank": "features, head shape and arithmetic; all runs of a bank agree in it",
    "stack": "the function that a step computes; all heads of a stack agree in it",
    "head": "training of one head; may differ within a stack",
    "data": "rows and labels of a run",
    "place": "where this run's own files lie; never shared by the runs of a study",
    "machine": "where and on what a run is computed; all runs of a bank agree in it",
    "after": "what happens after training",
    "describes": "names, tags and trackers",
}

# use -> the scopes that count for it.
USES: dict[str, frozenset[Scope]] = {
    "bank key": frozenset({"bank", "machine"}),
    "stack key": frozenset({"stack"}),
    "identity": frozenset({"bank", "stack", "head", "data"}),  # two runs are the same; also: what an axis may vary
    "run place": frozenset({"place"}),  # what the runs of a study never share, and no shown command repeats
}


def key(
    default: Any,
    help: str,
    *,
    scope: Scope,
    label: str = "",
    usual: str = "",
    placeholder: str = "",
    step: float | None = None,
    repeats: bool = False,
    extends: bool = False,
    raw: bool = False,
    command_line_only: str = "",
    introduced: Any = _DEFAULT,
    only_with: str = "",
    registry: Any = None,
    choices: Iterable[str] = (),
    **bounds: float,
) -> Any:
    """Declare a config key as a dataclass field.

    Args:
        help: one line of help.
        scope: what a change changes; see `SCOPES`.
        label, placeholder, step, usual (range): of its field on a page; without a label the help's first words are used.
        repeats: another value is a repeat of the same recipe, such as another seed.
        extends: a resumed run may change it freely, such as the largest number of epochs.
        raw: the value is a path or file name: on the command line it is taken unchanged after the first ``=``.
        command_line_only: why no page has this key.
        introduced: its value in configs stored before the key existed. Fill it in when the default of a key changes.
        only_with: the key without whose value this one has no effect: runs that lack it are the same whatever this says.
        registry: the `Registry` that the value names an object of; aliases count as the registered name.
        choices: the allowed values, where they are the names of a registry; a value is given by name or alias.
        bounds: ``low`` and ``high`` inclusive, ``above`` and ``below`` exclusive; in a list they apply to every item.
    """
    metadata = {
        "help": help,
        "scope": scope,
        "label": label,
        "usual": usual,
        "placeholder": placeholder,
        "step": step,
        "repeats": repeats,
        "extends": extends,
        "raw": raw,
        "command_line_only": command_line_only,
        "introduced": default if introduced is _DEFAULT else introduced,
        "only_with": only_with,
        "registry": registry,
        "choices": tuple(choices),
        "bounds": bounds,
    }
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: copy.deepcopy(default), metadata=metadata)
    return field(default=default, metadata=metadata)


# A parameter of a registered loss or head: its type, and its declaration by `key`.
Parameters = Mapping[str, tuple[Any, Any]]
