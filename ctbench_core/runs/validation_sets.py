"""Name the validation sets of a run store by their files: ``valid.csv``, and ``valid.csv (2)`` where another set shares it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ctbench_core.formatting import plural


def validation_set_names(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the name of each validation set with metrics by its identity: its file, numbered by age where several share it.

    Args:
        rows: of all training runs of the store, so that a set has one name in every list.
    """
    scored = [row for row in rows if row["val_auprc"] is not None]
    oldest = sorted(scored, key=lambda row: (row["created"], row["run_id"]))
    return _numbered((row["validation_set"], row["validation_file"]) for row in oldest)


def joint_set_names(groups: Sequence[Iterable[tuple[str, str]]]) -> list[str]:
    """Return for each group of runs the name of the validation sets that its runs have together; empty for none.

    Args:
        groups: for each the identity and name of the set of every run.
    """
    sets = [dict(sorted(group)) for group in groups]
    joint = {tuple(one): f"{plural(len(one), 'set')}, as {next(iter(one.values()))}" for one in sets if len(one) > 1}
    named = _numbered((" ".join(ids), name) for ids, name in joint.items())
    return [named[" ".join(one)] if len(one) > 1 else next(iter(one.values()), "") for one in sets]


def _numbered(names: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return names by identity; the second of one name is followed by (2), and so on."""
    numbered: dict[str, str] = {}
    seen = Counter[str]()
    for identity, name in names:
        if identity not in numbered:
            seen[name] += 1
            numbered[identity] = name if seen[name] == 1 else f"{name} ({seen[name]})"
    return numbered
