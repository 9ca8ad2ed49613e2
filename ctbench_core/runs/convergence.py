"""Whether a run with a convex problem was stopped far from its optimum: the record in ``best_metrics.json``."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from ctbench_core.formatting import format_metric, plural
from ctbench_core.runs.store import Run

LIMIT = 0.01  # macro AUPRC on validation that a run may lack
NOT_CONVERGED = "not converged"


@dataclass(frozen=True)
class Convergence:
    """How a run compares with the optimum of its own loss, rows, class weights and penalty.

    Attributes:
        value, optimum: mean AUPRC on validation, of the run's best epoch and of the optimum, over the ``findings``
            findings with enough patients there; NaN where they cannot be compared.
        c: inverse penalty of the optimum, as in scikit-learn's LogisticRegression.
        falling: whether the training loss still fell when training ended.
        reason: why the two cannot be compared; empty where they can.
    """

    value: float = math.nan
    optimum: float = math.nan
    c: float = math.nan
    findings: int = 0
    falling: bool = False
    reason: str = ""

    @property
    def gap(self) -> float:
        """AUPRC that the run lacks; negative where stopping early is better than the optimum."""
        return self.optimum - self.value

    @property
    def converged(self) -> bool | None:
        """Whether the run lacks no more than `LIMIT`; None where they cannot be compared."""
        return None if math.isnan(self.gap) else self.gap <= LIMIT

    @property
    def mark(self) -> str:
        """The mark of tables; empty unless the run has not converged."""
        return NOT_CONVERGED if self.converged is False else ""

    def sentence(self) -> str:
        """Return what the mark means and the fix, or why there may be one; empty for a run that has converged."""
        if self.converged is None:
            return f"{self.reason[:1].upper()}{self.reason[1:]}, so convergence is not checked."
        if not self.mark:
            return ""
        advice = (
            "Raise training.learning_rate or training.max_epochs" if self.falling else "Lower training.learning_rate"
        )
        return (
            f"Not converged: validation AUPRC {format_metric(self.value)} over {plural(self.findings, 'finding')}; the "
            f"optimum of the same loss (logistic regression, C = {self.c:.3g}) reaches {format_metric(self.optimum)}. "
            f"The run is no verdict on the features. {advice}, or use model=logistic."
        )

    def to_json(self) -> dict[str, Any]:
        """Return the record of ``best_metrics.json``."""
        return {"converged": self.converged, "gap": self.gap, **dataclasses.asdict(self)}


def convergence(run: Run) -> Convergence | None:
    """Return how a run compares with its optimum; None where it has none, has not finished, or is from before."""
    stored = run.best().get("convergence")
    if not isinstance(stored, dict):
        return None
    numbers = {name: stored.get(name) for name in ("value", "optimum", "c")}
    values = {name: math.nan if number is None else float(number) for name, number in numbers.items()}
    findings = int(stored.get("findings") or 0)
    return Convergence(
        **values, findings=findings, falling=bool(stored.get("falling")), reason=str(stored.get("reason", ""))
    )
