"""What the intervals of a stored alignment are, and why some are missing."""

from __future__ import annotations

from typing import Any

_EARLIER = "95 % over query patients, for this gallery: percentiles of resamples, the rule of an earlier release."


def rule_of(metrics: dict[str, Any]) -> str:
    """Return the rule of a stored result's intervals."""
    return str(metrics.get("interval_rule", _EARLIER))


def notes(metrics: dict[str, Any], shown: dict[str, str]) -> list[str]:
    """Return why metrics have no interval, and the marks of intervals; ``shown``: titles by name of the metrics."""
    lines = []
    for kind, lead in (("no_interval", "No interval"), ("interval_marks", "Intervals")):
        by_text: dict[str, list[str]] = {}
        for name, title in shown.items():
            if name in metrics.get(kind, {}):
                by_text.setdefault(metrics[kind][name], []).append(title)
        for text, titles in by_text.items():
            of = "" if len(titles) == len(shown) else f" of {', '.join(titles)}"
            lines.append(f"{lead}{of}: {text}.")
    return lines
