"""Evaluate a run on its test sets, or on its validation set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from ctbench_core.api.report import Report, Section, draw
from ctbench_core.api.training import TrainingReport, folder_of
from ctbench_core.declared import averaged_metrics, short_title
from ctbench_core.errors import InputError, unknown_name
from ctbench_core.evaluate import evaluate_on_validation, evaluate_run, per_class_frame
from ctbench_core.formatting import format_interval, format_metric
from ctbench_core.progress import Progress, silent
from ctbench_core.report import run_paper
from ctbench_core.runs import VALIDATION, Disclosures, Metrics, Run, disclosures_of, open_run, read_frame, read_metrics

if TYPE_CHECKING:
    from ctbench_core.figures import Figure

_SHOWN = 4  # findings whose curves are drawn where none are named


@dataclass(frozen=True, repr=False)
class EvaluationReport(Report):
    """A run on test sets, or on validation. Tables hold all sets; figures and texts are of one, the first by default.

    Attributes:
        metrics: METRICS by set.
        disclosures: by set, how often it was evaluated, leaks, where its labels come from.
        warnings: what the verb ``evaluate`` warns of.
    """

    run: Run
    metrics: Mapping[str, Metrics]
    disclosures: Mapping[str, Disclosures]
    warnings: tuple[str, ...] = ()

    @property
    def sets(self) -> list[str]:
        """The names of the sets."""
        return list(self.metrics)

    @property
    def macro(self) -> pd.DataFrame:
        """Macro means: set, metric, value, lo, hi, and the number of findings that each averages."""
        rows = [
            {"set": name, "metric": key, **one.to_json()}
            for name, metrics in self.metrics.items()
            for key, one in metrics.macro.items()
        ]
        return pd.DataFrame(rows)

    @property
    def findings(self) -> pd.DataFrame:
        """Every metric of every finding with its interval, as ``per_class.csv`` has them, after a column set."""
        frames = []
        for name, metrics in self.metrics.items():
            frame = self.disclosures[name].add_to(per_class_frame(metrics))
            frame.insert(0, "set", name)
            frames.append(frame)
        return pd.concat(frames, ignore_index=True)

    def predictions(self, on: str | None = None) -> pd.DataFrame:
        """Return target, logit and probability of every volume and finding."""
        frame: pd.DataFrame = read_frame(self.run.paths.bundle(self._name(on)).scores)
        return frame

    def methods(self, on: str | None = None) -> str:
        """Return a Methods paragraph."""
        return run_paper(self.run, self._name(on))["methods.txt"].strip()

    def figure(self, metric: str = "auprc", on: str | None = None) -> Figure:
        """Draw a metric by finding with its 95 % intervals."""
        name = self._name(on)
        frame = per_class_frame(self.metrics[name])
        if metric not in frame:
            raise unknown_name("metric", metric, [one.name for one in averaged_metrics()])
        return draw(lambda figures: figures.finding_dots(frame, metric), self._note(name))

    def curves(self, curve: str = "pr", findings: Sequence[str] | None = None, on: str | None = None) -> Figure:
        """Draw precision-recall (``pr``) or ROC (``roc``) curves of some findings, by default the most frequent."""
        name = self._name(on)
        paths, per_class = self.run.paths.bundle(name), per_class_frame(self.metrics[name])
        labels = list(per_class["finding"])
        known = per_class.dropna(subset=["auprc"]).sort_values("prevalence", ascending=False)
        chosen = list(known["finding"].head(_SHOWN)) if findings is None else list(findings)
        for label in chosen:
            if label not in labels:
                raise unknown_name("finding", label, labels)
        if curve not in ("pr", "roc"):
            raise unknown_name("curve", curve, ["pr", "roc"])
        points, bands = read_frame(paths.curves), read_frame(paths.bands)

        def make(figures: Any) -> Figure:
            of_curve = figures.precision_recall if curve == "pr" else figures.receiver_operating
            chart: Figure = of_curve(points, per_class, chosen, labels, bands)
            return chart

        return draw(make, self._note(name))

    def _name(self, on: str | None) -> str:
        if on is None:
            return self.sets[0]
        name = Path(on).stem
        if name not in self.metrics:
            raise unknown_name("set", on, self.sets)
        return name

    def _note(self, name: str) -> str:
        return " · ".join(self.disclosures[name].sentences())

    def _title(self) -> str:
        return f"Run {self.run.name} on {', '.join(self.sets)}"

    def _sections(self) -> Iterator[Section]:
        for name, metrics in self.metrics.items():
            yield Section(self._note(name), _summary(metrics))

    def _warnings(self) -> Sequence[str]:
        own = (text for metrics in self.metrics.values() for text in metrics.warnings)
        return list(dict.fromkeys([*self.warnings, *own]))


def _summary(metrics: Metrics) -> pd.DataFrame:
    """Return the averaged metrics with intervals as text: the macro means, then every finding."""
    declared = averaged_metrics()
    means = {short_title(one.name): metrics.macro.get(str(one.macro)) for one in declared}
    cells = {title: format_interval(one.value, one.interval.to_list()) if one else "–" for title, one in means.items()}
    rows = [{"Finding": "Macro mean", **cells, "Positives": "", "Prevalence": "", "Note": ""}]
    parts = {title: one.eligible for title, one in means.items() if one and one.eligible}
    if parts:
        cells = {title: format_interval(one.value, one.interval.to_list()) for title, one in parts.items()}
        rows.append({"Finding": "Macro mean, eligible findings", **cells})
    for label, finding in metrics.findings.items():
        row = {"Finding": label}
        for one in declared:
            interval = finding.interval(one.name).to_list()
            row[short_title(one.name)] = format_interval(finding.value(one.name), interval)
        row |= {
            "Positives": f"{finding.value('support'):,.0f}",
            "Prevalence": format_metric(finding.value("prevalence")),
        }
        rows.append(row | {"Note": metrics.note(label)})
    frame = pd.DataFrame(rows).fillna("")
    return frame if frame["Note"].any() else frame.drop(columns="Note")


def open_evaluation(run: TrainingReport | Path | str) -> EvaluationReport:
    """Open the stored evaluations of a run. Nothing is evaluated, and nothing is logged.

    Raises:
        InputError: no run, or it has not been evaluated.
    """
    stored = open_run(folder_of(run))
    names = [name for name in (*stored.evaluations(), VALIDATION) if stored.paths.bundle(name).metrics.is_file()]
    if not names:
        raise InputError(f"{stored.paths.root} has no evaluation. Evaluate the run first: evaluate(run).")
    return _stored(stored, names)


def _stored(run: Run, names: Sequence[str], warnings: Sequence[str] = ()) -> EvaluationReport:
    metrics = {name: read_metrics(run.paths.bundle(name).metrics) for name in names}
    complete = {name: one for name, one in metrics.items() if one is not None}
    disclosures = {name: disclosures_of([run], name) for name in complete}
    return EvaluationReport(run, complete, disclosures, tuple(warnings))


def evaluate(
    run: TrainingReport | Path | str,
    tests: Sequence[str] | None = None,
    *,
    on: Literal["test", "validation"] = "test",
    progress: Progress = silent,
) -> EvaluationReport:
    """Evaluate a run, and store the results. The run store logs each evaluation on test.

    Args:
        run: from `train` or `open_run`, or a run directory.
        tests: manifest names; by default those of the run's config, else those with the usual names.
        on: ``validation`` evaluates on the run's own validation set, to choose among runs before any test.

    Raises:
        InputError: no run, no checkpoint, no test manifest, or unusable features.
    """
    folder = folder_of(run)
    if on not in ("test", VALIDATION):
        raise unknown_name("set (on)", on, ["test", VALIDATION])
    if on == VALIDATION:
        warnings = evaluate_on_validation(folder, progress=progress)["warnings"]
        return _stored(open_run(folder), [VALIDATION], warnings)
    result = evaluate_run(folder, None if tests is None else list(tests), progress=progress)
    return _stored(open_run(folder), [Path(name).stem for name in result["test"]], result["warnings"])
