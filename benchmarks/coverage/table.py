"""Write stored simulations as Markdown: coverage, errors of type I, power, how often there is no interval, and widths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from benchmarks.coverage.designs import IN_GROUP, Design
from benchmarks.coverage.models import part_of
from benchmarks.coverage.runner import AGAIN, FIRST, Store
from benchmarks.coverage.tally import FIELDS

LOW, HIGH = 93.0, 97.0  # coverage, per cent
MIN_ERROR, MAX_ERROR = 3.5, 6.5  # type I, per cent
MIN_PATIENTS = 10  # expected hits and misses from which coverage has an upper limit
MIN_SCARCER = 30  # patients of the scarcer class from which an error of type I has a lower limit
FEWEST = 100  # intervals for a rate to be shown
# Rules that are wide on purpose: their coverage has no upper limit, nor their error of type I a lower one.
CONSERVATIVE = ("recipe of 3", "recipes of 3", "K-fold", "macro auprc", "net benefit")
NAIVE = "rows taken for patients"
TESTS = ("rank swap", "any mark", "best of", "non-inferior", "equivalent")
PAIRS = ("two models", "two recipes", "subgroup")
TITLES = {"auroc": "AUROC", "auprc": "AUPRC", "f1": "F1", "npv": "NPV", "mrr": "MRR"}


@dataclass(frozen=True)
class Row:
    """One figure of one design, from the run whose verdict counts: the rerun's, where there is one."""

    design: Design
    figure: str
    repeats: int
    is_rerun: bool
    counts: dict[str, float]

    def percent(self, field: str, of: str = "given") -> float:
        return 100 * self.counts[field] / self.counts[of] if self.counts[of] >= FEWEST else np.nan

    @property
    def is_test(self) -> bool:
        """Whether the figure is a test without an interval."""
        return any(name in self.figure for name in TESTS)

    @property
    def is_null(self) -> bool:
        """Whether a rejection of equality is an error."""
        design, figure = self.design, self.figure
        if "same recipe" in figure:
            return True
        is_pair = any(pair in figure for pair in PAIRS) and not self.is_test
        spreads = design.seed_spread if "recipes" in figure else (design.spread, design.second_spread or design.spread)
        return is_pair and design.is_null and ("auroc" in figure or spreads[0] == spreads[1])

    @property
    def is_judged(self) -> bool:
        """Whether a rejection of the test is an error: margins and rank swaps always, others where all are equal."""
        if any(name in self.figure for name in ("non-inferior", "equivalent", "rank swap")):
            return True
        spreads = {self.design.spread, self.design.second_spread or self.design.spread}
        return self.design.is_null and ("auroc" in self.figure or len({*self.design.seed_spread}) == len(spreads) == 1)

    @property
    def is_conservative(self) -> bool:
        has_overlap = self.design.overlap > 0 and "recipe" in self.figure
        return has_overlap or any(name in self.figure for name in CONSERVATIVE)

    @property
    def verdict(self) -> str:
        """Return what is outside of what must hold, or an empty text."""
        if self.figure.startswith(NAIVE) or self.counts["given"] < FEWEST:
            return ""
        if self.is_test and not self.is_judged:
            return ""
        if self.is_test or self.is_null:
            half = 0.5 if "non-inferior" in self.figure else 1.0
            error = self.percent("rejected")
            share = IN_GROUP if "subgroup" in self.figure else 1.0
            scarcer = share * self.design.patients * min(*self.design.prevalence, 0.5)
            is_wide = self.is_conservative or self.counts["marked"] > self.counts["given"] / 2
            has_minimum = self.is_null and not is_wide and scarcer >= MIN_SCARCER
            if error > half * MAX_ERROR:
                return "liberal"
            return "timid" if has_minimum and error < MIN_ERROR else ""
        coverage = self.percent("covered")
        has_limit = self.counts["minor"] / self.counts["given"] >= MIN_PATIENTS and not self.is_conservative
        return "low" if coverage < LOW else "high" if has_limit and coverage > HIGH else ""

    @property
    def width_ratio(self) -> float:
        """Return the mean width relative to that of the plain percentiles of patients."""
        return self.counts["beside_width"] / self.counts["plain_width"] if self.counts["plain_width"] else np.nan

    @property
    def oracle_power(self) -> float:
        """Return the power, per cent, of the z test that knows the variance."""
        given = max(self.counts["given"], 1.0)
        variance = self.counts["square"] / given - (self.counts["error"] / given) ** 2
        shift = abs(self.counts["truth"] / given) / np.sqrt(max(variance, 1e-300))
        limit = ndtri(0.975)
        return float(100 * (ndtr(shift - limit) + ndtr(-shift - limit)))


def rows_of(store: Store, designs: Sequence[Design]) -> list[Row]:
    """Return a row for each figure of each design that has been simulated."""
    rows = []
    for design in designs:
        first, again = ((*store.tally(design.name, stream)[:2], stream == AGAIN) for stream in (FIRST, AGAIN))
        for figure in first[0].sums:
            # The rerun of a design judges the figures that were outside; the others keep their first run.
            is_outside = bool(Row(design, figure, first[1], False, first[0][figure]).verdict)
            tally, repeats, is_rerun = again if is_outside and figure in again[0].sums else first
            rows.append(Row(design, figure, repeats, is_rerun, tally[figure]))
    return rows


def outside(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.verdict]


def parts_outside(store: Store, designs: Sequence[Design]) -> dict[str, set[str]]:
    """Return by design the parts of a test set whose figures were outside in the first run."""
    parts: dict[str, set[str]] = {}
    for design in designs:
        tally, repeats, _ = store.tally(design.name, FIRST)
        for figure, counts in ((name, tally[name]) for name in tally.sums):
            if Row(design, figure, repeats, False, counts).verdict:
                parts.setdefault(design.name, set()).add(part_of(figure))
    return parts


def tables(rows: Sequence[Row]) -> str:
    """Return all tables as Markdown."""
    single = [row for row in rows if row.design.kind == "models"]
    models = [row for row in single if not any(name in row.figure for name in (*PAIRS, *TESTS, "recipe"))]
    pairs = [row for row in single if row not in models and not row.is_test]
    others = [row for row in rows if row.design.kind != "models"]
    parts = [
        ("Coverage, one model, %", models, "covered"),
        ("Coverage, recipes, differences and subgroups, %", pairs, "covered"),
        ("Coverage, K-fold and retrieval, %", others, "covered"),
    ]
    texts = [f"**{title}**\n\n{_wide(part, field)}" for title, part, field in parts if part]
    texts.append(
        f"**Errors of type I, %**\n\n{_wide([row for row in rows if row.is_null or (row.is_test and row.is_judged)], 'rejected')}"
    )
    texts.insert(0, f"**Over all designs, %**\n\n{_summary(rows)}")
    texts += [f"**Power beside the oracle, %**\n\n{_powers(rows)}", f"**Given, marked, width**\n\n{_widths(rows)}"]
    return "\n\n".join([*texts, f"**Outside**\n\n{_outside(rows)}"]) + "\n"


def _wide(rows: Sequence[Row], field: str) -> str:
    """Return designs by figures; * marks what is outside, r a rerun, a dash too few intervals."""
    figures = list(dict.fromkeys(row.figure for row in rows))
    by_design: dict[str, dict[str, Row]] = {}
    for row in rows:
        by_design.setdefault(row.design.name, {})[row.figure] = row
    lines = [["design", *map(_title, figures)]]
    for name, cells in by_design.items():
        lines.append([name, *(_cell(cells.get(figure), field) for figure in figures)])
    return _markdown(lines)


def _cell(row: Row | None, field: str) -> str:
    if row is None or np.isnan(row.percent(field)):
        return "–"
    return f"{row.percent(field):.1f}{'r' if row.is_rerun else ''}{'*' if row.verdict else ''}"


def _summary(rows: Sequence[Row]) -> str:
    """Return by figure the mean over designs, and the lowest and highest: of coverage, or of rejected true nulls."""
    lines = [["figure", "what", "designs", "mean", "lowest", "highest"]]
    for figure in dict.fromkeys(row.figure for row in rows):
        own = [row for row in rows if row.figure == figure and row.counts["given"] >= FEWEST]
        nulls = [row for row in own if row.is_null or (row.is_test and row.is_judged)]
        for what, field, chosen in (
            ("coverage", "covered", [row for row in own if not row.is_test]),
            ("rejected", "rejected", nulls),
        ):
            if chosen:
                percents = [row.percent(field) for row in chosen]
                ends = [
                    f"{percents[k]:.1f} {chosen[k].design.name}" for k in (np.argmin(percents), np.argmax(percents))
                ]
                lines.append([_title(figure), what, str(len(chosen)), f"{np.mean(percents):.1f}", *ends])
    return _markdown(lines)


def _powers(rows: Sequence[Row]) -> str:
    lines = [["design", "figure", "power", "oracle"]]
    for row in rows:
        is_pair = any(pair in row.figure for pair in PAIRS) and not row.is_test
        if is_pair and not row.is_null and not row.design.is_null and row.counts["given"] >= FEWEST:
            numbers = [f"{row.percent('rejected'):.0f}", f"{row.oracle_power:.0f}"]
            lines.append([row.design.name, _title(row.figure), *numbers])
    return _markdown(lines)


def _widths(rows: Sequence[Row]) -> str:
    """Return by figure, over all designs: how often an interval and a mark is given, and the width."""
    lines = [["figure", "given, %", "marked, %", "width / plain", "plain covers, %", "ours, %"]]
    by_figure: dict[str, list[Row]] = {}
    for row in rows:
        if not row.is_test:
            by_figure.setdefault(row.figure, []).append(row)
    for figure, own in by_figure.items():
        total = {field: sum(row.counts[field] for row in own) for field in FIELDS}
        given, plain_width = max(total["given"], 1.0), total["plain_width"]
        numbers = [f"{100 * given / total['requested']:.0f}", f"{100 * total['marked'] / given:.0f}"]
        numbers += [f"{total['beside_width'] / plain_width:.2f}" if plain_width else "–"]
        numbers += [f"{100 * total['plain_covered'] / total['plain_given']:.1f}" if plain_width else "–"]
        lines.append([_title(figure), *numbers, f"{100 * total['covered'] / given:.1f}"])
    return _markdown(lines)


def _outside(rows: Sequence[Row]) -> str:
    lines = [["design", "figure", "repeats", "verdict", "per cent", "its error", "above", "width / plain"]]
    for row in outside(rows):
        field = "rejected" if row.is_test or row.is_null else "covered"
        percent = row.percent(field)
        error = np.sqrt(percent * (100 - percent) / row.counts["given"])
        ratio = "–" if np.isnan(row.width_ratio) else f"{row.width_ratio:.2f}"
        numbers = [f"{percent:.1f}", f"{error:.1f}", f"{row.percent('above'):.1f}", ratio]
        lines.append([row.design.name, _title(row.figure), f"{row.repeats:,}", row.verdict, *numbers])
    return _markdown(lines) if len(lines) > 1 else "None."


def _title(figure: str) -> str:
    words = [TITLES.get(word, word) for word in figure.replace("recall_at_5", "Recall@5").split(" ")]
    return " ".join(words)


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    rule = "|" + "---|" * len(lines[0])
    texts = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([texts[0], rule, *texts[1:]])
