"""Numbers as a paper prints them: ``.842 [.829, .856]``, one style for the screen, the command line and LaTeX."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

UNDEFINED = "–"
MINUS = "−"
_BYTE_UNITS = ((30, 1, "GiB"), (20, 1, "MiB"), (10, 0, "KiB"))
_TIME_UNITS = ((86400, "days"), (3600, "h"), (60, "min"))


def format_metric(value: float | None, digits: int = 3, signed: bool = False) -> str:
    """Write a metric: ``.842``, ``−.031``, never ``-.000``; undefined as a dash.

    Args:
        signed: put a plus before positive values, as for differences.
    """
    if value is None or not math.isfinite(value):
        return UNDEFINED
    size = f"{abs(value):.{digits}f}"
    size = size[1:] if size.startswith("0.") else size
    if not float(size):
        return size
    return (MINUS if value < 0 else "+" if signed else "") + size


def threshold_digits(threshold: float) -> int:
    """Return the digits with which a threshold is written in full, three or more."""
    return max(3, len(format(Decimal(repr(float(threshold))), "f").partition(".")[2]))


def format_threshold(threshold: float) -> str:
    """Write a threshold in full, since a rounded one may call other volumes positive: ``.500``, ``.46338``."""
    return format_metric(threshold, threshold_digits(threshold)) if math.isfinite(threshold) else UNDEFINED


def format_p(p: float | None) -> str:
    """Write a p-value: ``.012``, and ``< .001`` where three digits would show none."""
    return "< .001" if p is not None and p < 0.0005 else format_metric(p)


def format_error(error: float | None) -> str:
    """Write a standard error or deviation: ``.012``, ``< .001`` where three digits would show none of it, ``.000`` of 0."""
    return "< .001" if error and 0 < error < 0.0005 else format_metric(error)


def format_interval(
    value: float | None, bounds: Sequence[float | None] | None, digits: int = 3, signed: bool = False
) -> str:
    """Write a metric with its interval: ``.842 [.829, .856]``; without one, the metric alone.

    Args:
        signed: of a difference, whose value has a sign: ``+.012 [−.003, .027]``.
    """
    return f"{format_metric(value, digits, signed=signed)} {format_bounds(bounds, digits)}".rstrip()


def format_bounds(bounds: Sequence[float | None] | None, digits: int = 3) -> str:
    """Write an interval alone: ``[.829, .856]``; empty without one."""
    known = [bound for bound in bounds or () if bound is not None and math.isfinite(bound)]
    if len(known) != 2:
        return ""
    low, high = (format_metric(bound, digits) for bound in known)
    return f"[{low}, {high}]"


def format_mean_sd(mean: float | None, sd: float | None, digits: int = 3) -> str:
    """Write a mean with its standard deviation: ``.842 ± .004``; without one, the mean alone."""
    if sd is None or not math.isfinite(sd):
        return format_metric(mean, digits)
    return f"{format_metric(mean, digits)} ± {format_metric(sd, digits)}"


def plural(count: int, noun: str) -> str:
    """Write a count with its noun: ``1 patient``, ``3,039 patients``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def format_cohort(counts: Mapping[str, int]) -> str:
    """Write the size of a cohort: ``741 volumes / 382 exams / 318 patients``."""
    units = [unit for unit in ("volumes", "exams", "patients") if unit in counts]
    return " / ".join(plural(counts[unit], unit.removesuffix("s")) for unit in units)


def format_pairs(metrics: Mapping[str, Any]) -> str:
    """Write what an alignment compares, from its metrics: ``741 pairs``, ``6 images and 17 texts, paired by groups``."""
    if "texts_analyzed" not in metrics:
        return plural(metrics["samples_analyzed"], "pair")
    images, texts = plural(metrics["images_analyzed"], "image"), plural(metrics["texts_analyzed"], "text")
    return f"{images} and {texts}, paired by groups"


def format_bytes(count: float) -> str:
    """Write bytes in their largest fitting unit: ``1.3 GiB``, ``34.0 MiB``, ``900 bytes``."""
    return next(
        (f"{count / 2**power:,.{digits}f} {unit}" for power, digits, unit in _BYTE_UNITS if count >= 2**power),
        f"{count:,.0f} bytes",
    )


def format_time_span(seconds: float) -> str:
    """Write about how long something takes, from twice a unit on in that unit: ``6 s``, ``12 min``, ``30 h``, ``3 days``."""
    return next(
        (f"{seconds / unit:,.0f} {name}" for unit, name in _TIME_UNITS if seconds >= 2 * unit), f"{seconds:,.0f} s"
    )


def ordinal(number: int) -> str:
    """Write a place in an order: ``1st``, ``12th``, ``23rd``."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
