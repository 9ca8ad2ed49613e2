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
    │   ├── HeldError           another program holds a file open
    │   ├── StorageError        the system refuses a file: disk full, quota, read-only, no right, too many files open
    │   └── OutOfMemory         memory ran out
    └── Interrupted             stopped on request, state saved (exit 130)

Each message says what is wrong, what was expected, and what to do.
"""

from __future__ import annotations

import difflib
import errno
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


class MissingPackage(CtbenchError):
    """A package that the work needs, and that only an extra of this package brings."""


class RunError(CtbenchError):
    """A failure of the work that the input did not cause."""


class HeldError(RunError, PermissionError):
    """A file that another program holds open, so that it cannot be replaced, moved or removed."""


# What the system's refusals mean, and what to do, by error number: nowhere else is this decided.
_FOLDERS = "choose another folder (paths.outputs_root, paths.cache_dir; CTBENCH_OUTPUTS for the app)"
_RIGHTS = f"Close it in other programs, correct its permissions, or {_FOLDERS}."
_REFUSALS = {
    errno.ENOSPC: ("the disk is full", "Free space there, then run the same again."),
    errno.EDQUOT: (
        "your disk quota is used up",
        "Delete files of yours there or ask for more, then run the same again.",
    ),
    errno.EROFS: ("the disk is read-only", f"Make it writable, or {_FOLDERS}."),
    errno.EACCES: ("permission denied", _RIGHTS),
    errno.EPERM: ("permission denied", _RIGHTS),
    errno.EMFILE: ("too many files are open", "Raise the limit (ulimit -n 4096), then start the program again."),
    errno.ENFILE: ("too many files are open", "Close other programs, then run the same again."),
    errno.EIO: ("the disk reports an error", "Check the disk and its connection, then run the same again."),
}


def refusal(error: OSError) -> tuple[str, str]:
    """Return the cause of a system error, and what to do about it."""
    reason = error.strerror or str(error) or type(error).__name__
    cause, advice = _REFUSALS.get(error.errno or 0, ("", "Correct this, then run the same again."))
    return cause if cause == reason.lower() else f"{cause} ({reason})" if cause else reason, advice


class StorageError(RunError, OSError):
    """A file that the system refuses to open, write, move or remove; ``errno`` says why."""

    @staticmethod
    def knows(error: OSError) -> bool:
        """Whether the system refused a file for a reason that a user can remove."""
        return error.errno in _REFUSALS

    @classmethod
    def of(cls, error: OSError, path: object = None) -> OSError:
        """Return a system error with its cause and what to do; one of ours as it is.

        Args:
            path: the file or folder, where the error does not name it.
        """
        if isinstance(error, CtbenchError):
            return error
        (cause, advice), place = refusal(error), path or error.filename
        result = cls(f"{f'{place}: ' if place else ''}{cause}. {advice}")
        result.errno = error.errno
        return result


class OutOfMemory(RunError):
    """Memory ran out; fewer heads or smaller batches may fit."""


def is_out_of_memory(error: BaseException) -> bool:
    """Recognise memory errors: torch raises its own class on a GPU and a plain RuntimeError on a CPU."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or (isinstance(error, RuntimeError) and "allocate memory" in str(error))


def explained(error: BaseException) -> BaseException:
    """Return an error of the system or of memory as one that says what to do, every other as it is."""
    if isinstance(error, OSError):
        return StorageError.of(error)
    if is_out_of_memory(error) and not isinstance(error, CtbenchError):
        return OutOfMemory("Memory ran out. Close other programs, take fewer rows, or use a machine with more memory.")
    return error


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
