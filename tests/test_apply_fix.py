"""A fix changes the config as its button says: mappings and lists grow, and what is metadata is no finding."""

from __future__ import annotations

from typing import Any

import pytest

from ctbench_core.config import Config, apply_fix, get_key, set_key
from ctbench_core.errors import Fix
from ctbench_core.overrides import fix_overrides

METADATA, FINDINGS, TARGETS = "data.columns.metadata", "data.columns.labels", "training.target_labels"


@pytest.mark.parametrize(
    ("key", "present", "value", "expected"),
    [
        ("data.labels.values", {"2": 1}, {"3": 0}, {"2": 1, "3": 0}),
        ("data.labels.values", {"2": 1}, {"2": "unknown"}, {"2": "unknown"}),
        (METADATA, ["age"], ["sex"], ["age", "sex"]),
        (METADATA, ["age", "sex"], ["sex"], ["age", "sex"]),
        (METADATA, [], ["sex"], ["sex"]),
        ("data.labels.uncertain", "negative", "unknown", "unknown"),
        ("data.columns.volume", "id", None, None),
    ],
)
def test_a_mapping_and_a_list_grow_and_other_values_are_replaced(
    key: str, present: Any, value: Any, expected: Any
) -> None:
    config = Config()
    set_key(config, key, present)
    apply_fix(config, Fix("", {key: value}))
    assert get_key(config, key) == expected


@pytest.mark.parametrize("key", [FINDINGS, TARGETS])
def test_metadata_are_no_findings(key: str) -> None:
    config = Config()
    set_key(config, key, ["mass", "age"])
    apply_fix(config, Fix("", {METADATA: ["age"]}))
    assert get_key(config, key) == ["mass"]
    apply_fix(config, Fix("", {METADATA: ["mass"]}))
    assert get_key(config, key) is None
    assert get_key(config, METADATA) == ["age", "mass"]


def test_findings_stay_when_a_fix_names_no_metadata() -> None:
    config = Config()
    set_key(config, FINDINGS, ["mass"])
    apply_fix(config, Fix("", {"data.labels.uncertain": "unknown"}))
    assert get_key(config, FINDINGS) == ["mass"]


def test_the_overrides_of_a_fix_hold_what_was_there_before() -> None:
    config = Config()
    set_key(config, METADATA, ["age"])
    assert fix_overrides(config, Fix("", {METADATA: ["sex"], "data.pool": "mean"})) == [
        f"{METADATA}=['age','sex']",
        "data.pool=mean",
    ]
    assert get_key(config, METADATA) == ["age"]
