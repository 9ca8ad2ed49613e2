"""Compare runs, or recipes over their seeds, with the first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd

from ctbench_core.api.report import Report, Section, draw
from ctbench_core.api.training import TrainingReport, folder_of
from ctbench_core.compare import MACROS, Comparison, compare_recipes, compare_runs
from ctbench_core.declared import compared_metrics, metric_title
from ctbench_core.errors import unknown_name
from ctbench_core.formatting import format_metric, format_p
from ctbench_core.report import DETECTABLE_TITLE, comparison_notes, difference_text, interval_title, paper_files
from ctbench_core.runs import Run, open_run

if TYPE_CHECKING:
    from ctbench_core.figures import Figure


@dataclass(frozen=True, repr=False)
class ComparisonReport(Report):
    """A baseline, the first run or recipe, and others on the same volumes.

    Attributes:
        comparison: every difference with its interval and tests.
    """

    comparison: Comparison
    runs: tuple[Run, ...]

    @property
    def metrics(self) -> pd.DataFrame:
        """Every metric of every model, a row a finding and macro mean: value, lo, hi."""
        return self.comparison.metrics

    @property
    def differences(self) -> pd.DataFrame:
        """Differences a (the model) - b (the baseline): a_value, b_value, delta, lo, hi, p, p_adjusted; ``label`` is the finding."""
        return self.comparison.differences

    def methods(self) -> str:
        """Return a Methods paragraph."""
        return paper_files(self.comparison, self.runs)["methods.txt"].strip()

    def figure(self, metric: str = "auroc") -> Figure:
        """Draw the differences of a metric by finding; filled where the adjusted p is below .05."""
        names = compared_metrics()
        if metric not in names:
            raise unknown_name("compared metric", metric, names)
        rows, labels = self.differences[self.differences["metric"] == metric], self.comparison.common.labels
        note = [f"{metric_title(metric)}, baseline {self.comparison.common.names[0]}"]
        note += self.comparison.disclosures.sentences()
        return draw(lambda figures: figures.comparison_forest(rows, labels), " · ".join(note))

    def _title(self) -> str:
        names = self.comparison.common.names
        return f"{', '.join(names[1:])} compared with {names[0]}"

    def _sections(self) -> Iterator[Section]:
        rows = self.differences[self.differences["label"].isin(MACROS)]
        shown = {
            "Model": rows["a"],
            "Metric": rows["metric"].map(metric_title),
            "Mean over": rows["label"].map(dict(zip(MACROS, ("all findings", "eligible findings")))),
            interval_title(rows, "Difference"): [
                difference_text(row.delta, (row.lo, row.hi), (row.range_lo, row.range_hi)) for row in rows.itertuples()
            ],
            "p": rows["p"].map(format_p),
            "p (adjusted)": rows["p_adjusted"].map(format_p),
            DETECTABLE_TITLE: rows["detectable"].map(format_metric),
        }
        yield Section(" · ".join(self.comparison.disclosures.sentences()), pd.DataFrame(shown))
        yield from map(Section, comparison_notes(self.comparison))

    def _warnings(self) -> Sequence[str]:
        return [] if not self.comparison.disclosures.banner else [self.comparison.disclosures.banner]


def compare(
    runs: Sequence[TrainingReport | Path | str],
    on: str | None = None,
    *,
    by: Literal["run", "recipe"] = "run",
    margin: float | None = None,
    swaps: int = 0,
) -> ComparisonReport:
    """Compare evaluated runs with the first of them, on the volumes and findings that they share.

    Args:
        on: a test set by its name, or ``validation``; by default the first common test set.
        by: ``recipe`` groups runs that differ only in their seed.
        margin: for non-inferiority and equivalence.
        swaps: random exchanges of the rank-swap test of AUROC; 0 leaves it out.

    Raises:
        InputError: fewer than two runs, or nothing in common.
    """
    functions = {"run": compare_runs, "recipe": compare_recipes}
    if by not in functions:
        raise unknown_name("way to compare (by)", by, functions)
    folders = [folder_of(run) for run in runs]
    comparison = functions[by](folders, on).with_margin(margin).with_swaps(swaps)
    return ComparisonReport(comparison, tuple(map(open_run, folders)))
