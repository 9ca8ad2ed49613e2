"""Join the rows of one volume, such as those of several readers, to one row, and locations of a finding to one column."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from ctbench_core.config import ColumnsConfig, LabelsConfig
from ctbench_core.formatting import plural
from ctbench_core.manifest.columns import IdColumns
from ctbench_core.manifest.labels import likely_labels, read_cells, refuse_problems

Collapse = Literal["any", "majority"]


def collapse_rows(
    path: Path,
    names: np.ndarray,
    frame: pd.DataFrame,
    lines: np.ndarray,
    how: Collapse,
    columns: ColumnsConfig,
    rules: LabelsConfig,
) -> tuple[pd.DataFrame, np.ndarray, list[str]]:
    """Return one row a name with its first line, in order of appearance, and what was joined, a sentence each.

    A finding is positive where any row says so, or where more rows say yes than no; a tie, and a finding that no row
    knows, is unknown. Another column keeps the value that its filled rows agree in, or else is left out.

    Args:
        names: of M rows, strings. frame: their other columns.

    Raises:
        ManifestError: a label column holds a value without a meaning.
    """
    codes, distinct = pd.factorize(pd.Series(names))
    if len(distinct) == len(names):
        return frame, np.arange(len(names)), []
    first = np.flatnonzero(~pd.Series(names).duplicated().to_numpy())
    labels = likely_labels(frame, columns, IdColumns(None, None, None, {}), rules)
    refuse_problems(path, frame, labels, lines)
    joined: dict[str, np.ndarray] = {}
    left_out, ties = [], 0
    for name in frame:
        if name in labels:
            votes = labels[name].targets
            yes = np.bincount(codes, votes == 1, len(distinct))
            joined[name], tied = _vote(yes, np.bincount(codes, votes == 0, len(distinct)), how)
            ties += tied
        else:
            values = frame[name].str.strip().to_numpy(dtype=object)
            filled = values != ""
            each = pd.Series(values[filled]).groupby(codes[filled])
            if (each.nunique() > 1).any():
                left_out.append(name)
            else:
                joined[name] = each.first().reindex(range(len(distinct)), fill_value="").to_numpy(dtype=object)
    notes = [f"{path.name}: {plural(len(names), 'row')} are joined to {len(distinct):,} by collapse={how}."]
    if ties:
        notes.append(f"{path.name}: {plural(ties, 'label')} with as many positive as negative rows are unknown.")
    if left_out:
        notes.append(f"{path.name}: {', '.join(left_out)} differ between rows of one volume: left out.")
    return pd.DataFrame(joined, dtype="str"), first, notes


def collapse_columns(
    path: Path, frame: pd.DataFrame, lines: np.ndarray, how: Collapse, separator: str, rules: LabelsConfig
) -> tuple[pd.DataFrame, list[str]]:
    """Return a frame with one column a finding in place of those named ``<finding><separator><location>``.

    A finding is positive where any of its locations is, or where more are than are not; blank where no location is
    known, or by ``majority`` where as many are as are not.

    Raises:
        ManifestError: a location's column holds a value without a meaning.
    """
    located = {name: name.split(separator)[0].strip() for name in frame if separator in name}
    located |= {name: name for name in frame if name in located.values()}  # a finding without a location
    votes = {finding: np.zeros((2, len(frame)), dtype=np.int64) for finding in located.values()}
    wrong = {}
    for name, finding in located.items():
        cells = read_cells(frame[name], rules)
        votes[finding] += np.array([cells.targets == 1, cells.targets == 0])
        if cells.wrong.any():
            wrong[name] = cells
    refuse_problems(path, frame, wrong, lines)
    voted = {finding: _vote(yes, no, how) for finding, (yes, no) in votes.items()}
    joined = pd.DataFrame({finding: values for finding, (values, _) in voted.items()}, index=frame.index, dtype="str")
    rest = frame.drop(columns=list(located))
    notes = [
        f"{path.name}: {plural(len(located), 'column')} named finding{separator}location are joined to "
        f"{plural(len(joined.columns), 'finding')} by collapse={how}."
    ]
    if ties := sum(tied for _, tied in voted.values()):
        notes.append(f"{path.name}: {plural(ties, 'label')} with as many positive as negative locations are unknown.")
    return pd.concat([rest, joined], axis=1), notes


def _vote(yes: np.ndarray, no: np.ndarray, how: Collapse) -> tuple[np.ndarray, int]:
    """Return labels as text from the votes for and against, and the number of ties, which are unknown."""
    tied = (yes == no) & (yes > 0) & (how == "majority")
    positive = yes > no if how == "majority" else yes > 0
    return np.where(tied | (yes + no == 0), "", np.where(positive, "1", "0")), int(tied.sum())
