"""Read the primary analysis that runs declared before their test set was evaluated: metric, findings, comparison, margins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ctbench_core.config import Config
from ctbench_core.declared import compared_metrics, metric_title
from ctbench_core.inference import ELIGIBLE, MACRO
from ctbench_core.runs import VALIDATION, Run, openings_of


@dataclass(frozen=True)
class Margin:
    """An absolute margin of a metric, and whether it was declared before the test set was evaluated."""

    value: float
    is_declared: bool

    @property
    def origin(self) -> str:
        """When it was chosen, for tables and sentences."""
        return "declared before the test set was evaluated" if self.is_declared else "post hoc"


@dataclass(frozen=True)
class Primary:
    """The declared primary analysis (config keys ``evaluation.primary``).

    Attributes:
        metric: its name; empty if only margins are declared. findings: empty for the macro mean.
        comparison: what is compared with what, in words. margins: absolute margin by metric.
        problem: why the declaration does not count as made before the test set was evaluated; empty if it does.
    """

    metric: str = ""
    findings: tuple[str, ...] = ()
    comparison: str = ""
    margins: Mapping[str, float] = field(default_factory=dict)
    problem: str = ""

    @property
    def holds(self) -> bool:
        """Whether a primary metric was declared in time."""
        return bool(self.metric) and not self.problem

    def includes(self, metric: str, label: str) -> bool:
        """Whether a row of a table is a result of the primary analysis."""
        return self.holds and metric == self.metric and label in (self.findings or (MACRO, ELIGIBLE))

    @property
    def title(self) -> str:
        """The primary analysis in words: ``AUROC, macro mean: MLP against linear probe``."""
        findings = ", ".join(self.findings) or "macro mean"
        return f"{metric_title(self.metric)}, {findings}" + (f": {self.comparison}" if self.comparison else "")

    def to_json(self) -> dict[str, Any]:
        """Return the declaration, and why it does not count, if so."""
        return {
            "metric": self.metric,
            "findings": list(self.findings),
            "comparison": self.comparison,
            "margins": dict(self.margins),
            "problem": self.problem,
        }


def primary_of(runs: Sequence[Run], set_name: str) -> Primary | None:
    """Return what runs declare; None if none does, or on validation.

    A declaration counts if a run with it began to train before the first evaluation on the test set, by the ledger. A
    resumed run counts from when it was resumed, since its declaration may have changed then.
    """
    declaring = [run for run in runs if run.status.kind == "train" and _declaration(run.config) != Primary()]
    if not declaring or set_name == VALIDATION:
        return None
    declared = [_declaration(run.config) for run in declaring]
    if any(other != declared[0] for other in declared[1:]):
        return Primary(problem="the runs declare different primary analyses")
    begun = min(_time(run.status.started or run.status.created) for run in declaring)
    problem = _problem(begun, [_time(opening.when) for opening in openings_of(runs, set_name)])
    return Primary(**vars(declared[0]) | {"problem": problem})


def _problem(begun: datetime, openings: Sequence[datetime]) -> str:
    if not openings:
        return "the ledger of the run store has no evaluation on this test set, so that its time is unknown"
    return "" if begun < min(openings) else "it was declared after the first evaluation on the test set"


def _time(text: str) -> datetime:
    """Return a time of status or ledger; an unreadable one counts as long ago."""
    try:
        time = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _declaration(config: Config) -> Primary:
    keys = config.evaluation.primary
    metric = "" if keys.metric == "none" else keys.metric
    return Primary(metric, tuple(keys.findings or ()), keys.comparison or "", dict(keys.margins))


def margins_of(margin: float | None, primary: Primary | None) -> dict[str, Margin]:
    """Return the margin of each compared metric: a given one, else the declared."""
    declared, in_time = _usable_margins(primary), primary is not None and not primary.problem
    if margin is None:
        return {name: Margin(value, in_time) for name, value in declared.items()}
    return {name: Margin(margin, in_time and declared.get(name) == margin) for name in compared_metrics()}


def _usable_margins(primary: Primary | None) -> dict[str, float]:
    margins = primary.margins if primary else {}
    return {name: value for name, value in margins.items() if name in compared_metrics() and 0 < value < 1}


def margin_warnings(primary: Primary | None) -> list[str]:
    """Return a warning of each declared margin that cannot be used."""
    usable, known = _usable_margins(primary), " or ".join(compared_metrics())
    return [
        f"The declared margin {name}: {value:g} is not used: it needs a number above 0 and below 1, of {known}."
        for name, value in (primary.margins if primary else {}).items()
        if name not in usable
    ]
