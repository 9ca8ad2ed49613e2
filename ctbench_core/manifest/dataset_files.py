"""Find the files of a public data set by their names, in the whole tree below a folder."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from ctbench_core.declared import PublicDataset, SourceTable
from ctbench_core.errors import ConfigError, ManifestError
from ctbench_core.formatting import plural
from ctbench_core.manifest.prepared import is_prepared
from ctbench_core.tables import read_header

_PART = 4  # letters of a name that is taken for a part of another
_ENDINGS = (".csv", ".tsv", ".txt", ".parquet", ".pq")


@dataclass(frozen=True)
class DatasetFiles:
    """The files of a data set.

    Attributes:
        found: each table with its file, in the order of the declaration.
        missing: tables without a file, and files that are no table of the set, one sentence each.
    """

    found: list[tuple[SourceTable, Path]]
    missing: list[str] = field(default_factory=list)

    def of(self, *roles: str) -> list[tuple[SourceTable, Path]]:
        """Return the tables of some roles with their files."""
        return [(table, path) for table, path in self.found if table.role in roles]


def find_files(dataset: PublicDataset, root: Path) -> DatasetFiles:
    """Find the file of each table of a data set; a root that is a file is the only file.

    Raises:
        ConfigError: the root does not exist.
        ManifestError: no labels, a required table is missing, or two files could be the same table.
    """
    files = _list_tables(root)
    labels = [table for table in dataset.tables if table.role == "labels"]
    # The only file can be nothing else than the only table of labels, whatever its name.
    renamed = root.is_file() and len(labels) == 1 and not any(_matching(table, files) for table in dataset.tables)
    result = DatasetFiles([])
    for table in dataset.tables:
        paths = [root] if renamed and table is labels[0] else _matching(table, files)
        if table.several:
            paths = _with_key(table, paths, result.missing)
        elif len(paths) > 1:
            raise ManifestError(
                f"{plural(len(paths), 'file')} could be the {table.title} of {dataset.title}: "
                f"{', '.join(map(str, paths))}. Give root= the folder or file that is meant, or move the others."
            )
        result.found.extend((table, path) for path in paths)
        if not paths:
            _refuse_spreadsheets(table, files)
            if table.required:
                raise _absent(dataset, [table], root, files)
            result.missing.append(f"No {table.title}: no file {_names(table)} below {root}.")
    if not result.of("labels"):
        raise _absent(dataset, labels, root, files)
    return result


def _list_tables(root: Path) -> list[Path]:
    """List the files below a folder, sorted, without hidden folders and the manifests that were prepared before."""
    if root.is_file():
        return [root]
    if not root.is_dir():
        near = [path.name for path in root.parent.glob("*")] if root.parent.is_dir() else []
        hint = f" Nearest: {', '.join(_nearest(root.name, near))}." if _nearest(root.name, near) else ""
        raise ConfigError(f"root={root} does not exist.{hint} Give the folder that holds the data set's files.")
    found: list[Path] = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(folder, name) for name in names if not name.startswith(".")]
    return sorted(path for path in found if not is_prepared(path))


def _matching(table: SourceTable, files: Sequence[Path]) -> list[Path]:
    """Return the files of a table: those of the first of its names that any file has."""
    for name in table.files:
        matching = [path for path in files if (stem := _stem(path)) and fnmatchcase(stem, name.casefold())]
        if matching:
            return matching
    return []


def _refuse_spreadsheets(table: SourceTable, files: Sequence[Path]) -> None:
    for path in files:
        if path.suffix.casefold() in (".xlsx", ".xls") and any(
            fnmatchcase(path.stem.casefold(), name.casefold()) for name in table.files
        ):
            raise ManifestError(f"{path} is a spreadsheet, and holds the {table.title}. Save it as CSV in its folder.")


def _stem(path: Path) -> str:
    """Return a table's name without its endings, in lower case; empty for a file that is no table."""
    name = path.name.casefold().removesuffix(".gz")
    return next((name.removesuffix(ending) for ending in _ENDINGS if name.endswith(ending)), "")


def _with_key(table: SourceTable, paths: Iterable[Path], left_out: list[str]) -> list[Path]:
    """Return the files that have the key column and all kept columns; the others are listed."""
    kept = []
    for path in paths:
        header = read_header(path)
        if set(table.key) & set(header) and set(table.columns) <= set(header):
            kept.append(path)
        else:
            needed = [" or ".join(table.key), *table.columns]
            left_out.append(f"{path} is not used: it lacks a column {' or a column '.join(needed)}.")
    return kept


def _absent(dataset: PublicDataset, tables: Sequence[SourceTable], root: Path, files: Sequence[Path]) -> ManifestError:
    """Build the error for tables that no file is, with the files that may be meant."""
    expected = " or ".join(_names(table) for table in tables)
    near = list(dict.fromkeys(name for table in tables for name in _nearest(table.files[0], [p.name for p in files])))
    if columns := sorted({" or ".join(table.key) for table in tables if table.several}):
        expected += f" with the columns {', '.join([*columns, *tables[0].columns])}"
    hint = f" Nearest: {', '.join(near[:5])}." if near else f" It has {plural(len(files), 'file')}."
    return ManifestError(
        f"{root} holds no {tables[0].title} of {dataset.title}: expected a file {expected} (.csv, .tsv, .txt or "
        f".parquet, also with .gz).{hint} Correct root=, or rename the file."
    )


def _names(table: SourceTable) -> str:
    return " or ".join(table.files)


def _nearest(name: str, names: Iterable[str]) -> list[str]:
    """Return the files whose names are a part of a name, or else like it, the nearest first."""
    plain = {other: _stem(Path(other)) or Path(other).stem.casefold() for other in names}
    close = [stem for stem in plain.values() if len(stem) >= _PART and stem in name.casefold()]
    close = close or difflib.get_close_matches(name.casefold(), list(plain.values()), n=5, cutoff=0.6)
    return sorted(
        (other for other, stem in plain.items() if stem in close), key=lambda other: close.index(plain[other])
    )
