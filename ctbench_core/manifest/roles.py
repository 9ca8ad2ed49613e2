"""Say what each column of a table is taken for, and which columns are left out that may hold labels."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ctbench_core.config import Config
from ctbench_core.errors import Fix, ManifestError
from ctbench_core.manifest.columns import find_columns
from ctbench_core.manifest.label_maps import label_map
from ctbench_core.manifest.labels import configured_findings, label_candidates, likely_labels, read_cells
from ctbench_core.manifest.manifest import Manifest

_PARTLY = 0.5  # a column with this share of label values may be meant as a finding


def column_roles(path: Path, frame: pd.DataFrame, config: Config) -> dict[str, list[str]]:
    """Return the roles of each column: volume, patient, exam, visual, text, split, list, finding, metadata.

    A column may have several roles, such as volume and visual where files are named by volume. A column without a role
    is not used.
    """
    columns, rules = config.data.columns, config.data.labels
    try:
        ids = find_columns(path, list(frame), columns)
    except ManifestError:  # a setting names a column that is not there
        ids = find_columns(path, list(frame), type(columns)(metadata=columns.metadata))
    named, renames = configured_findings(config), label_map(rules.rename)
    findings = [column for name in named or () for column in renames.columns_of(name, list(frame))]
    findings = findings if named else list(likely_labels(frame, columns, ids, rules))
    findings = [] if rules.list_column else findings
    by_role: dict[str, list[str | None]] = {
        "volume": [ids.volume],
        "patient": [ids.patient],
        "exam": [ids.exam],
        "visual": [columns.visual_feature],
        "text": [columns.text_feature],
        "split": [columns.split],
        "list": [rules.list_column],
        "finding": [*findings],
    }
    roles = {name: [role for role, names in by_role.items() if name in names] for name in frame}
    others = {*label_candidates(frame, columns, ids), *columns.metadata}
    return {name: own or (["metadata"] if name in others else []) for name, own in roles.items()}


def left_out_columns(manifest: Manifest, config: Config) -> dict[str, list[Fix]]:
    """Return a warning with its fix for each column that partly holds labels and is not a finding, and for empty ones."""
    if config.data.labels.list_column or configured_findings(config):
        return {}
    warnings: dict[str, list[Fix]] = {}
    for name in manifest.metadata_columns:
        if name in config.data.columns.metadata:
            continue
        cells = read_cells(manifest.frame[name], config.data.labels)
        filled = int((manifest.frame[name].str.strip() != "").sum())
        if not filled:
            warnings[f"{manifest.path.name}: column {name!r} is empty and left out of the findings."] = []
        elif cells.share >= _PARTLY and manifest.frame[name].nunique() > 1:
            text = (
                f"{manifest.path.name}: column {name!r} is left out of the findings: {filled - round(cells.share * filled):,} "
                f"of {filled:,} filled cells are not 0, 1 or -1. Name it in data.columns.labels, or in "
                "data.columns.metadata."
            )
            as_finding = Fix(f"{name} is a finding", {"data.columns.labels": [*manifest.labels, name]})
            warnings[text] = [as_finding, Fix(f"Not a finding: {name}", {"data.columns.metadata": [name]})]
    return warnings
