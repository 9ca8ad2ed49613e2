"""Find the columns of a table that name its volumes, patients and exams, whatever their spelling."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ctbench_core.config import KEYS, ColumnsConfig
from ctbench_core.errors import Fix, ManifestError
from ctbench_core.manifest.manifest import VOLUME
from ctbench_core.tables import read_header

# Spellings without case, blanks, hyphens and underscores, the preferred ones first.
_SPELLINGS = {
    "volume": "volumename volume volumeid nameinctrate imagename imageid image imageindex scanname scanid scan seriesid "
    "seriesuid seriesinstanceuid accessionno accessionnumber accession studyid studyuid studyinstanceuid caseid case "
    "dicomid filename file id ids name",
    "patient": "patientid patient subjectid subject participantid participant personid",
    "exam": "examid exam studyid studyuid studyinstanceuid study accessionno accessionnumber accession sessionid",
    "visual": "visualfeaturepath visualpath imagefeaturepath imagepath imagefile featurepath featurefile embeddingpath "
    "path filepath",
    "text": "textfeaturepath textpath reportfeaturepath reportpath textembeddingpath",
    "split": "split splits set subset partition",
}
SPELLINGS = {role: tuple(words.split()) for role, words in _SPELLINGS.items()}
_OFFERED = 3  # columns as fixes
_KEYS = {"visual": "visual_feature", "text": "text_feature"}  # other roles are keys of data.columns themselves


@dataclass(frozen=True)
class ColumnGuess:
    """The column of one role.

    Attributes:
        key: the config key that names it.
        column: the column that is used, or could be; None when no name is known.
        candidates: every column with a known spelling, best first.
    """

    key: str
    column: str | None
    candidates: list[str]


@dataclass(frozen=True)
class IdColumns:
    """The columns of a table's ids, None where it has none, and by role one sentence for each that was not named.

    A table of predictions has no paths, and may have no volume names.
    """

    volume: str | None
    patient: str | None
    exam: str | None
    notes: dict[str, str]

    @property
    def names(self) -> list[str]:
        """Return the columns that exist."""
        return [name for name in (self.volume, self.patient, self.exam) if name is not None]


def find_columns(path: Path, names: Sequence[str], columns: ColumnsConfig) -> IdColumns:
    """Find the id columns among the names of a table's columns; an unnamed one is known by its spelling.

    Raises:
        ManifestError: a column that the config names is missing.
    """
    patient = columns.patient or (columns.grouping_col if columns.grouping_col != VOLUME else None)
    given = {"volume": columns.volume, "patient": patient, "exam": columns.exam}
    keys = {"patient": "grouping_col"} if columns.patient is None else {}
    found: dict[str, str | None] = {}
    notes = {}
    for role, name in given.items():
        if name is not None:
            require_columns(path, names, [name], f"data.columns.{keys.get(role, role)}")
        others = [column for column in names if column not in {*found.values(), *filter(None, given.values())}]
        found[role] = name or next(iter(spelled_columns(role, others)), None)
        if found[role] not in (name, SPELLINGS[role][0], f"{role}_id"):
            notes[role] = f"{path.name}: {role}s are read from column {found[role]!r} (data.columns.{role})."
    return IdColumns(found["volume"], found["patient"], found["exam"], notes)


def find_volume(path: Path, names: Sequence[str], given: str | None) -> tuple[str, list[str]]:
    """Find the column of volume names, and say which it is unless it is named or the usual one.

    Raises:
        ManifestError: there is none.
    """
    found = find_columns(path, names, ColumnsConfig(volume=given))
    if found.volume is None:
        raise missing_column(path, names, "volume", VOLUME)
    return found.volume, [found.notes["volume"]] if "volume" in found.notes else []


def column_guesses(path: Path | str) -> dict[str, ColumnGuess]:
    """Guess the columns of a manifest by role: volume, patient, exam, visual, text.

    Raises:
        ManifestError: the table cannot be read.
    """
    names, taken, guesses = read_header(Path(path)), set[str](), {}
    for role in SPELLINGS:
        candidates = spelled_columns(role, names)
        column = next((name for name in candidates if name not in taken), None)
        taken |= {column} if column else set()
        guesses[role] = ColumnGuess(f"data.columns.{_KEYS.get(role, role)}", column, candidates)
    return guesses


def require_columns(path: Path, names: Sequence[str], wanted: Sequence[str], key: str) -> None:
    """Refuse a table without a column that the config names or needs.

    Raises:
        ManifestError: one is missing; the message has the table's columns.
    """
    absent = [name for name in wanted if name not in names]
    if absent:
        raise ManifestError(
            f"{path} has no column {', '.join(map(repr, absent))}. Its columns are: {', '.join(names)}. "
            f"Rename the column, or name the right one with {key}.",
            fixes=_fixes_of_name(absent[0], names, key),
        )


def _fixes_of_name(absent: str, names: Sequence[str], key: str) -> list[Fix]:
    """Offer the columns with a name like one that a setting has, and to detect the column or findings instead."""
    if key == "training.target_labels":
        return [Fix("Detect the findings", {key: None, "data.columns.labels": None})]
    if key not in KEYS:
        return []
    near = difflib.get_close_matches(absent, names, n=_OFFERED)
    return [*(use_column(key, name) for name in near), Fix("Detect the column", {key: KEYS[key].default})]


def missing_column(
    path: Path, names: Sequence[str], role: str, expected: str, volume: str | None = None, likely: Sequence[str] = ()
) -> ManifestError:
    """Build the error for a table without the column of a role, with the columns that may be meant.

    Args:
        volume: the column of the volume names, after which feature files may be named.
        likely: columns that may be meant by what they hold.
    """
    key, spelled = f"data.columns.{_KEYS.get(role, role)}", spelled_columns(role, names)
    spelled += [name for name in likely if name not in spelled]
    hint = f"Set {key}={spelled[0]} if that is the one." if spelled else f"Rename the right one, or name it with {key}."
    fixes = [use_column(key, name, sure=len(spelled) == 1) for name in spelled[:_OFFERED] if name != volume]
    if volume is not None:
        hint += f" Files that are named by volume, such as <{volume}>.npz, are found with {key}={volume}."
        fixes.append(Fix(f"Files are named by {volume}", {key: volume}, sure=not fixes))
    others = [name for name in names if name not in (*spelled, volume)] if not fixes else []
    fixes += [use_column(key, name) for name in others[:_OFFERED]]
    return ManifestError(f"{path} has no column {expected!r}. Its columns are: {', '.join(names)}. {hint}", fixes=fixes)


def use_column(key: str, name: str, sure: bool = False) -> Fix:
    """Return the fix that names a column by a config key."""
    return Fix(f"Use {name} as {KEYS[key].label.lower()}", {key: name}, sure=sure)


def spelled_columns(role: str, names: Sequence[str]) -> list[str]:
    """Return the columns with a known spelling of a role, preferred spellings first."""
    order = {spelling: rank for rank, spelling in enumerate(SPELLINGS[role])}
    plain = {name: name.casefold().translate(str.maketrans("", "", " _-.")) for name in names}
    return sorted((name for name in names if plain[name] in order), key=lambda name: order[plain[name]])
