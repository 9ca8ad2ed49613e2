"""Everything that can go wrong on purpose.

    CtbenchError
    ├── InputError              what was given is at fault; nothing was changed (exit 2)
    │   ├── ConfigError         a key, a value or a registered name
    │   ├── ManifestError       a manifest: file, column, rows
    │   ├── FeatureError        feature files: missing, unreadable, wrong shape
    │   ├── PathError           a path that may not be followed
    │   ├── CheckpointError     a checkpoint that does not fit the model
    │   └── LeakError           patients on both sides, under data.on_leak=refuse
    ├── RunError                the work itself failed (exit 1)
    └── Interrupted             stopped on request, state saved (exit 130)

Each message says what was expected, what came, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CtbenchError(Exception):
    """Base of every error raised on purpose; its text is written for the user."""


class InputError(CtbenchError):
    """The input is at fault: the user can mend it and try again."""


class ConfigError(InputError):
    """An unknown key, an unusable value, or a name that is not registered."""


class ManifestError(InputError):
    """A manifest that is missing, unreadable, or breaks the manifest contract."""


class FeatureError(InputError):
    """Feature files that are missing, unreadable, or of the wrong shape."""


class PathError(InputError):
    """A path that climbs out of its root or leaves the allowed folders."""


class CheckpointError(InputError):
    """A checkpoint that cannot be read or does not fit the model."""


class LeakError(InputError):
    """The same patient on both sides of given manifests, where that was refused."""


class RunError(CtbenchError):
    """The work failed for a reason that is not the input's fault."""


class Interrupted(CtbenchError):
    """Work stopped on request; what was finished is on disk."""


def unknown_name(kind: str, given: str, known: Iterable[str]) -> ConfigError:
    """Build the error for a name that is not registered, nearest known names first."""
    names = sorted(known)
    nearest = difflib.get_close_matches(given, names, n=len(names), cutoff=0.5)
    ordered = nearest + [name for name in names if name not in nearest]
    return ConfigError(f"Unknown {kind} {given!r}. Known: {', '.join(ordered)}.")


def first_rows(rows: Iterable[object], total: int, limit: int = 5) -> str:
    """Name the first few offenders and count the rest: ``3, 7, 9 (3 rows)``."""
    shown = ", ".join(str(row) for row, _ in zip(rows, range(limit)))
    more = ", ..." if total > limit else ""
    return f"{shown}{more} ({total} row{'s' if total != 1 else ''})"
