"""The registered formats: each is read, and the docs list all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ctbench_core.declared import FORMATS, FeatureFormat, format_of, load, table_suffixes, vector_suffixes

DOCS = Path(__file__).resolve().parents[2] / "docs" / "data-formats.md"


def test_a_suffix_in_any_case_belongs_to_one_format() -> None:
    suffixes = [suffix for item in FORMATS.values() for suffix in item.suffixes]
    assert len(set(suffixes)) == len(suffixes) == len(vector_suffixes()) + len(table_suffixes())
    for item in FORMATS.values():
        for suffix in item.suffixes:
            assert format_of(f"folder.npy/one{suffix.upper()}") is item
    assert format_of("one.unknown") is format_of("one") is None
    with pytest.raises(ValueError, match=r"'\.npz' is registered already"):
        FORMATS.add(FeatureFormat("other", "Other", (".other", ".npz")))


def test_every_reference_of_a_format_names_a_function() -> None:
    for item in FORMATS.values():
        references = [reference for reference in (item.parse, item.locate, item.read_table) if reference]
        assert all(callable(load(reference)) for reference in references)
        assert item.parse or item.read_table


def test_the_docs_list_every_format_with_its_suffixes() -> None:
    lines = DOCS.read_text(encoding="utf-8").splitlines()
    for item in FORMATS.values():
        (row,) = (line for line in lines if line.startswith(f"| {item.title} |"))
        _, _, suffixes, vector, table, _ = (cell.strip() for cell in row.split("|"))
        assert suffixes == ", ".join(f"`{suffix}`" for suffix in item.suffixes)
        assert (bool(vector), bool(table)) == (bool(item.parse), bool(item.read_table))
