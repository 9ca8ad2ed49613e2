"""The table of docs/journeys.md: written by `benchmarks.journeys`, and compared with every walk of the suite."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from tests.browser.journeys.declaration import DAYS, JOURNEYS, Journey
from tests.browser.journeys.walker import Walker

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "journeys.md"
# Columns of seconds: server and theme.
TIMES = ("warm light", "warm dark", "cold light", "cold dark")
_HEADINGS = ("journey", "who wants what", "steps", "clicks", "fields", *TIMES, "slowest step")
_COUNTED = 5  # columns that every walk fills alike
_BEGIN, _END = "<!-- journeys -->\n", "<!-- end -->\n"


def counted_cells(journey: Journey, walker: Walker) -> list[str]:
    """Return the cells of a journey's row that do not depend on the machine."""
    mark = " ⌨" if journey.keyboard else ""
    return [f"`{journey.name}`{mark}", journey.want, journey.steps, str(walker.clicks), str(walker.fields)]


def stored_cells(name: str) -> list[str]:
    """Return the same cells as the document has them; empty for an unknown journey."""
    return _rows(DOCUMENT.read_text(encoding="utf-8")).get(name, [])[:_COUNTED]


def slowest_step(walker: Walker) -> str:
    """Write the step of a walk that took longest."""
    name, seconds = max(walker.steps, key=lambda step: step[1])
    return f"{name.replace('|', '/')[:30]}: {seconds:.1f}"


def update(journey: Journey, walker: Walker, column: str, seconds: float) -> None:
    """Write a walk into the document; the times of other columns and journeys stay."""
    before, rest = DOCUMENT.read_text(encoding="utf-8").split(_BEGIN)
    table, after = rest.split(_END)
    rows = _rows(table)
    known = rows.get(journey.name, [""] * len(_HEADINGS))
    times = dict(zip(TIMES, known[_COUNTED:-1])) | {column: f"{seconds:.1f}"}
    slowest = slowest_step(walker) if column == TIMES[0] or not known[-1] else known[-1]
    rows[journey.name] = [*counted_cells(journey, walker), *times.values(), slowest]
    DOCUMENT.write_text(f"{before}{_BEGIN}{_tables(rows)}{_END}{after}", encoding="utf-8")


def _tables(rows: Mapping[str, list[str]]) -> str:
    """Write a table for each day, its journeys in the order of their declaration."""
    text = ""
    for day in DAYS:
        lines = [rows[name] for name, journey in JOURNEYS.items() if journey.day == day and name in rows]
        rule = ["---"] * 3 + ["---:"] * (len(_HEADINGS) - 4) + ["---"]
        body = "\n".join(f"| {' | '.join(cells)} |" for cells in (_HEADINGS, rule, *lines))
        text += f"\n## The {day} day\n\n{body}\n"
    return f"{text}\n"


def _rows(text: str) -> dict[str, list[str]]:
    lines = re.findall(r"^\| (`([\w-]+)`.*) \|$", text, re.MULTILINE)
    return {name: line.split(" | ") for line, name in lines}
