"""Caches know a file by (path, mtime, size) and never take an array, which Streamlit would hash by sample."""

from __future__ import annotations

import inspect
import os
from pathlib import Path

import numpy as np
import pytest
import streamlit as st

from ctbench_ui.shared import cache


def test_cached_functions_take_plain_values_only() -> None:
    cached = [value for value in vars(cache).values() if hasattr(value, "clear") and callable(value)]
    assert len(cached) >= 5
    for function in cached:
        file, *others = inspect.signature(function).parameters.values()
        assert file.annotation == "Path"  # which `per_file` turns into a stamp
        for parameter in others:
            assert parameter.annotation in ("str", "str | None", "tuple[str, ...]"), (function, parameter)


def test_large_arrays_do_collide_in_streamlits_own_hash() -> None:
    """The reason for the rule above: when this fails, Streamlit hashes whole arrays, and the rule can be dropped."""

    @st.cache_data
    def total(values: np.ndarray) -> float:
        return float(values.sum())

    first = np.zeros((47_000, 18))
    second = first.copy()
    second[23_456, 7] = 1.0
    assert total(first) == 0.0
    assert total(second) == 0.0


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a\n1\n")
    assert cache.load_table(path)["a"].tolist() == [1]
    path.write_text("a\n2\n")
    os.utime(path, ns=(1, 1))
    assert cache.load_table(path)["a"].tolist() == [2]


def test_the_stamp_of_a_missing_file_is_zero(tmp_path: Path) -> None:
    assert cache.stamp(tmp_path / "none") == (str(tmp_path / "none"), 0, 0)


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Begin with empty caches."""
    st.cache_data.clear()
