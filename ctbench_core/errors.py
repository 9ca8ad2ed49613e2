"""Everything that can go wrong on purpose.

    CtbenchError
    ├── InputError              the input is wrong; nothing was changed (exit 2)
    │   ├── ConfigError         a key, a value or a registered name
    │   ├── ManifestError       a manifest: file, column, rows
    │   ├── FeatureError        feature files: missing, unreadable, wrong shape
    │   ├── PathError           a path outside its root or the allowed folders
    │   ├── CheckpointError     a checkpoint that does not fit the model
    │   ├── LeakError           shared patients, under data.on_leak=refuse
    │   └── DamagedFile         a file of the run store that cannot be used, or not now
    ├── RunError                the work itself failed (exit 1)
    │   └── HeldError           another program holds a file open
    └── Interrupted             stopped on request, state saved (exit 130)

Each message says what is wrong, what was expected, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Fix:
    """A change of settings that solves a problem: shown as a button on a page, as overrides on the command line.

    Attributes:
        label: what it does, as a button says it.
        values: by config key, its new value; a mapping or a list is added to what the key has.
        sure: whether it may be applied together with other suggestions, without a choice between meanings.
    """

    label: str
    values: Mapping[str, Any]
    sure: bool = False


class CtbenchError(Exception):
    """Base of every error raised on purpose; its text is written for the user.

    Attributes:
        fixes: changes of settings that solve it, the best first.
        parts: the errors that it was joined from; itself alone for a single one.
    """

    def __init__(self, *args: object, fixes: Sequence[Fix] = (), parts: Sequence[CtbenchError] = ()) -> None:
        super().__init__(*args)
        self.fixes, self.parts = tuple(fixes), tuple(parts) or (self,)

    def renamed(self, old: str, new: str) -> Self:
        """Return the error with another name for a file in its text; its fixes stay."""
        parts = [] if self.parts == (self,) else [part.renamed(old, new) for part in self.parts]
        return type(self)(str(self).replace(old, new), fixes=self.fixes, parts=parts)


class InputError(CtbenchError):
    """Wrong input, which the user can correct and try again."""


class ConfigError(InputError):
    """An unknown key, an unusable value, or a name that is not registered."""


class ManifestError(InputError):
    """A manifest that is missing, unreadable, or breaks the manifest contract."""


class FeatureError(InputError):
    """Feature files that are missing, unreadable, or of the wrong shape."""


class PathError(InputError):
    """A path that points outside its root or outside the allowed folders."""


class CheckpointError(InputError):
    """A checkpoint that cannot be read or does not fit the model."""


class LeakError(InputError):
    """The same patient in two manifests of a run, where that is refused."""


class DamagedFile(InputError):
    """A file that this program wrote and cannot use any more, or not now."""


class RunError(CtbenchError):
    """A failure of the work that the input did not cause."""


class HeldError(RunError, PermissionError):
    """A file that another program holds open, so that it cannot be replaced, moved or removed."""


class Interrupted(CtbenchError):
    """A stop on request; finished work is on disk."""


def joined(errors: Sequence[CtbenchError]) -> CtbenchError:
    """Return one error for several, at least one; its text has a line for each."""
    if len(errors) == 1:
        return errors[0]
    fixes = [fix for error in errors for fix in error.fixes]
    return ManifestError("\n".join(map(str, errors)), fixes=fixes, parts=errors)


def unknown_name(kind: str, name: str, known: Iterable[str]) -> ConfigError:
    """Build the error for a name that is not registered, nearest known names first."""
    names = sorted(known)
    nearest = difflib.get_close_matches(name, names, n=len(names), cutoff=0.5)
    ordered = nearest + [other for other in names if other not in nearest]
    return ConfigError(f"Unknown {kind} {name!r}. Known: {', '.join(ordered)}.")


def first_rows(rows: Collection[object], noun: str = "row") -> str:
    """Name the first five rows, or other things, and count all: ``3, 7, 9 (3 rows)``."""
    names = ", ".join(str(row) for row, _ in zip(rows, range(5)))
    return f"{names}{', ...' if len(rows) > 5 else ''} ({len(rows)} {noun}{'' if len(rows) == 1 else 's'})"
