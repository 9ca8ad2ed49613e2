"""Published figures beside ours, with their protocol, and why they can or cannot be held against each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

_FILE = Path(__file__).resolve().parents[2] / "data" / "reference" / "published_results.csv"


def published_frame(
    metric: str, labels: Sequence[str], volumes: int, inputs: str, path: Path | None = None
) -> pd.DataFrame:
    """Return the published classification figures of a metric (auroc, auprc, f1_macro), with ``why`` for each.

    Args:
        labels: the findings that ours averages; volumes: how many ours rests on; inputs: visual, text or concat.

    ``comparable`` is True only where cohort size, number of findings and adaptation are stated and agree.
    """
    path = path or _FILE
    if not path.is_file():
        return pd.DataFrame(columns=["model", "value", "protocol", "source", "evidence", "comparable", "why"])
    table = pd.read_csv(path)
    table = table[(table["task"] == "classification") & (table["metric"] == metric)].copy()
    table["why"] = [_why(row, len(labels), volumes, inputs) for row in table.to_dict("records")]
    table["comparable"] = table["why"] == ""
    table.loc[table["comparable"], "why"] = "same number of volumes and findings, adaptation stated"
    return table.drop(columns=["task"]).reset_index(drop=True)


def _why(row: dict, findings: int, volumes: int, inputs: str) -> str:
    reasons = []
    if pd.isna(row["n"]) or int(float(row["n"])) != volumes:
        theirs = "not stated" if pd.isna(row["n"]) else f"{int(float(row['n'])):,} volumes"
        reasons.append(f"cohort {theirs}, ours {volumes:,}")
    if pd.isna(row["findings"]) or int(float(row["findings"])) != findings:
        theirs = "not stated" if pd.isna(row["findings"]) else f"{int(float(row['findings']))}"
        reasons.append(f"findings {theirs}, ours {findings}")
    if "not stated" in str(row["protocol"]) or "unknown" in str(row["protocol"]):
        reasons.append("adaptation not stated")
    if inputs != "visual":
        reasons.append(f"ours reads {inputs} inputs")
    if str(row["evidence"]).startswith("second"):
        reasons.append("figure quoted second-hand")
    reasons.append("label digest not published")
    return "; ".join(reasons)
