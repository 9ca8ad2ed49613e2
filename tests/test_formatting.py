"""Numbers are printed as papers print them."""

from __future__ import annotations

import math

import pytest

from ctbench_core.formatting import (
    format_bounds,
    format_cohort,
    format_interval,
    format_mean_sd,
    format_metric,
    format_p,
    format_time_span,
    ordinal,
    plural,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.8421, ".842"),
        (1.0, "1.000"),
        (-0.0312, "−.031"),
        (-0.0004, ".000"),
        (0.0, ".000"),
        (None, "–"),
        (math.nan, "–"),
    ],
)
def test_a_metric_has_no_leading_zero_a_true_minus_and_no_negative_zero(value: float | None, text: str) -> None:
    assert format_metric(value) == text


def test_differences_may_carry_a_plus() -> None:
    assert [format_metric(value, signed=True) for value in (0.02, -0.02, 0.0)] == ["+.020", "−.020", ".000"]


def test_intervals_spreads_and_p_values() -> None:
    assert format_interval(0.842, (0.829, 0.856)) == ".842 [.829, .856]"
    assert format_interval(0.842, (math.nan, 0.856)) == format_interval(0.842, None) == ".842"
    assert (format_mean_sd(0.842, 0.004), format_mean_sd(0.842, None)) == (".842 ± .004", ".842")
    assert [format_p(p) for p in (0.0127, 0.0004, None)] == [".013", "< .001", "–"]


def test_counts_agree_with_their_nouns() -> None:
    assert (plural(1, "run"), plural(3039, "volume")) == ("1 run", "3,039 volumes")
    assert format_cohort({"volumes": 2, "exams": 1, "patients": 1}) == "2 volumes / 1 exam / 1 patient"


@pytest.mark.parametrize(
    ("number", "shown"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (113, "113th")]
)
def test_places_are_written_for_people(number: int, shown: str) -> None:
    assert ordinal(number) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (6.2, "6 s"),
        (119, "119 s"),
        (710, "12 min"),
        (7199, "120 min"),
        (7200, "2 h"),
        (86400, "24 h"),
        (200_000, "2 days"),
    ],
)
def test_a_time_span_has_its_unit(seconds: float, shown: str) -> None:
    assert format_time_span(seconds) == shown


def test_an_interval_alone_is_that_beside_the_metric() -> None:
    assert format_bounds([0.8291, 0.8559]) == "[.829, .856]"
    assert format_interval(0.8424, [0.8291, 0.8559]) == f".842 {format_bounds([0.8291, 0.8559])}"
    for unknown in (None, [], [None, 0.5], [math.nan, 0.5]):
        assert format_bounds(unknown) == ""
        assert format_interval(0.8424, unknown) == ".842"
