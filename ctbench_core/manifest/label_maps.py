"""Say which columns of a table are which findings here: by ``data.labels.rename``, or by a label map.

A label map is a file with one row a finding: its columns in the other data set, the definition of each side, and the
choice that was made; further rows name findings of one side that have no counterpart, with the reason.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ctbench_core.errors import ConfigError, ManifestError
from ctbench_core.installation import reference_folder
from ctbench_core.tables import read_table

FOLDER = reference_folder() / "label_maps"
_COLUMNS = ("finding", "columns", "finding_definition", "columns_definition", "note", "not_mapped")
SEPARATOR = "|"  # between columns that are joined by any
_NO_ROW = "not in the label map"


@dataclass(frozen=True)
class LabelMap:
    """Which columns of a table are which findings here.

    Attributes:
        pairs: by finding here, its columns; several are joined by any.
        name: of the file; empty where the config lists the pairs, so that every other column keeps its name.
        digest: SHA-256 of the file.
        notes: by finding, the choice that was made.
        reasons: by finding or column without a counterpart, why.
    """

    pairs: Mapping[str, tuple[str, ...]]
    name: str = ""
    digest: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)

    def columns_of(self, finding: str, present: Collection[str]) -> tuple[str, ...]:
        """Return the columns of a finding; none where a label map has no pair for it.

        Args:
            present: the columns of the table; of several that a config renames to one finding, the last present one.
        """
        columns = self.pairs.get(finding, ())
        if self.name:
            return columns
        return next(((column,) for column in reversed(columns) if column in present), (finding,))

    def findings_of(self, column: str) -> list[str]:
        """Return the findings that a column is read as; its own name where only pairs of a config are renamed."""
        findings = [finding for finding, columns in self.pairs.items() if column in columns]
        return findings or ([] if self.name else [column])

    def new_name(self, column: str) -> str:
        """Return the finding that a column is read as, where no label map joins columns."""
        return self.findings_of(column)[0]

    def reason(self, name: str) -> str:
        """Return why a finding or column has no counterpart."""
        return self.reasons.get(name, _NO_ROW)


def label_map(rename: Mapping[str, Any] | str) -> LabelMap:
    """Return the label map that ``data.labels.rename`` names or lists.

    Raises:
        ConfigError: there is no such map.
        ManifestError: its file is not a label map.
    """
    if not rename:
        return LabelMap({})
    if isinstance(rename, str):
        return _read(map_path(rename))
    pairs: dict[str, tuple[str, ...]] = {}
    for column, finding in rename.items():
        pairs[str(finding)] = (*pairs.get(str(finding), ()), str(column))
    return LabelMap(pairs)


def map_path(rename: str) -> Path:
    """Return the file of a label map: ``@name`` of `FOLDER`, or a path.

    Raises:
        ConfigError: there is no such map.
    """
    path = FOLDER / f"{rename[1:]}.csv" if rename.startswith("@") else Path(rename).expanduser()
    if not path.is_file() or (rename.startswith("@") and path.parent != FOLDER):
        known = ", ".join(f"@{one.stem}" for one in sorted(FOLDER.glob("*.csv"))) or "none"
        raise ConfigError(
            f"data.labels.rename is {rename!r}, but there is no such label map. Known: {known}. Name one of them, the "
            "path of a label map, or a mapping of names in the table to names here."
        )
    return path


def _read(path: Path) -> LabelMap:
    frame, digest = read_table(path)
    if absent := [name for name in _COLUMNS if name not in frame]:
        raise ManifestError(
            f"{path} is not a label map: it has no column {', '.join(absent)}. A label map has the columns "
            f"{', '.join(_COLUMNS)}."
        )
    frame = frame.apply(lambda column: column.str.strip())
    _check_rows(path, frame.to_dict("index"))
    rows = frame.to_dict("records")
    pairs = {row["finding"]: _split(row["columns"]) for row in rows if row["finding"] and row["columns"]}
    notes = {row["finding"]: row["note"] for row in rows if row["finding"] in pairs and row["note"]}
    reasons = {row["finding"] or row["columns"]: row["not_mapped"] for row in rows if row["not_mapped"]}
    return LabelMap(pairs, path.stem, digest, notes, reasons)


def _check_rows(path: Path, rows: Mapping[int, Mapping[str, str]]) -> None:
    """Refuse a finding with two rows, a pair without its definitions, and a row of one side without its reason."""
    seen: set[str] = set()
    for index, row in rows.items():
        is_pair = bool(row["finding"] and row["columns"])
        missing = [name for name in _COLUMNS[2:4] if not row[name]] if is_pair else []
        missing += ["not_mapped"] if not is_pair and not row["not_mapped"] else []
        missing += ["finding or columns"] if not row["finding"] and not row["columns"] else []
        if row["finding"] in seen or missing:
            problem = f"{', '.join(missing)} is blank" if missing else f"finding {row['finding']!r} has a second row"
            raise ManifestError(
                f"{path}: {problem} on line {index + 2}. A pair has the definitions of both sides, a finding or column "
                f"without a counterpart the reason in not_mapped; join several columns by {SEPARATOR!r} in one row."
            )
        seen |= {row["finding"]} - {""}


def _split(columns: str) -> tuple[str, ...]:
    return tuple(filter(None, (name.strip() for name in columns.split(SEPARATOR))))
