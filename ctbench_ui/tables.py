"""Tables that several pages show, and the files that a user takes away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_ui.style import ago

SHARE = "%.3f"


def runs(frame: pd.DataFrame, key: str, selection: str | None = None) -> Any:
    """Show runs; with a selection mode, return the event.

    Args:
        frame: rows of `cache.run_row`.
    """
    shown = pd.DataFrame(
        {
            "name": frame["name"],
            "state": frame["state"],
            "encoder": frame["encoder"],
            "head": frame["head"],
            "inputs": frame["inputs"],
            "best": frame["best_epoch"].astype("Int64"),
            "AUPRC": frame["val_auprc"].astype(float),
            "AUROC": frame["val_auroc"].astype(float),
            "F1": frame["val_f1"].astype(float),
            "test": [_tests(row.tests, row.leaks) for row in frame.itertuples()],
            "time": frame["seconds"].astype(float),
            "when": [ago(moment) for moment in frame["created"]],
        }
    )
    number = st.column_config.NumberColumn
    config = {
        "name": st.column_config.TextColumn("Run", width="medium"),
        "state": st.column_config.TextColumn("State"),
        "encoder": st.column_config.TextColumn("Encoder"),
        "head": st.column_config.TextColumn("Head"),
        "inputs": st.column_config.TextColumn("Inputs"),
        "when": st.column_config.TextColumn("When"),
        "best": number("Best epoch"),
        "AUPRC": st.column_config.ProgressColumn("Validation AUPRC", format=SHARE, min_value=0, max_value=1),
        "AUROC": number(format=SHARE),
        "F1": number(format=SHARE),
        "test": st.column_config.TextColumn(
            "Test AUPRC", help="⚠ marks a test set that shares patients with training."
        ),
        "time": number("Seconds", format="%.1f"),
    }
    more: dict[str, Any] = {"on_select": "rerun", "selection_mode": selection, "lazy": False} if selection else {}
    return st.dataframe(shown, hide_index=True, key=key, column_config=config, alt="Runs and their figures", **more)


def _tests(tests: dict[str, float | None], leaks: dict[str, int]) -> str:
    parts = [
        f"{name} {value:.3f}{' ⚠' if leaks.get(name) else ''}" for name, value in tests.items() if value is not None
    ]
    return ", ".join(parts)


def download(label: str, frame: pd.DataFrame, file_name: str, key: str) -> None:
    """Offer a frame as CSV, with every digit; it is written when the user asks."""
    st.download_button(
        label,
        data=lambda: frame.to_csv(index=False, lineterminator="\n").encode("utf-8"),
        file_name=file_name,
        mime="text/csv",
        key=key,
        icon=":material/download:",
        on_click="ignore",
    )


def download_stored(label: str, path: Path, file_name: str, key: str) -> None:
    """Offer a stored Parquet table as CSV; it is read when the user asks, since it may be large."""
    st.download_button(
        label,
        data=lambda: pd.read_parquet(path).to_csv(index=False, lineterminator="\n").encode("utf-8"),
        file_name=file_name,
        mime="text/csv",
        key=key,
        icon=":material/download:",
        on_click="ignore",
    )
