"""The metrics of a test set, typed: METRICS of the contracts, with one writer and one reader.

Undefined values are NaN in memory and null on disk. Files of earlier releases are upgraded as they are read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ctbench_core.declared import METRICS, finding_metrics, interval_keys
from ctbench_core.runs.readers import read_cached

FORMAT = 2  # 1: without ``macro``, ``test_set``, ``warnings`` and ``unknown_patients``


@dataclass(frozen=True)
class Interval:
    """A 95 % interval; false where none is given."""

    lo: float = math.nan
    hi: float = math.nan

    def __bool__(self) -> bool:
        return not math.isnan(self.lo)

    def to_list(self) -> list[float]:
        """Return both bounds."""
        return [self.lo, self.hi]


@dataclass(frozen=True)
class FindingMetrics:
    """The metrics of one finding: values and intervals by key, and why the finding has no interval."""

    values: Mapping[str, float]
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    no_interval: str = ""

    def value(self, key: str) -> float:
        """Return a metric; NaN where it is undefined or not stored."""
        return self.values.get(key, math.nan)

    def interval(self, key: str) -> Interval:
        """Return the interval of a metric."""
        return self.intervals.get(key, Interval())

    def with_values(
        self, values: Mapping[str, float], intervals: Mapping[str, Interval] | None = None, no_interval: str = ""
    ) -> FindingMetrics:
        """Return the finding with further metrics."""
        return FindingMetrics(
            {**self.values, **values}, {**self.intervals, **(intervals or {})}, no_interval or self.no_interval
        )

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``per_class``."""
        bounds = {f"{key}_ci": interval.to_list() for key, interval in self.intervals.items()}
        return {**self.values, **bounds, **({"no_interval": self.no_interval} if self.no_interval else {})}


@dataclass(frozen=True)
class MacroMetric:
    """A mean over the findings where a metric is defined.

    Attributes:
        interval: of this very mean: given only where each of its findings has an interval.
        findings: how many it averages.
        eligible: where only some have an interval, the mean over these, with its interval.
    """

    value: float
    interval: Interval = field(default_factory=Interval)
    findings: int = 0
    eligible: MacroMetric | None = None

    def to_json(self) -> dict[str, Any]:
        """Return value, lo, hi and findings."""
        return {"value": self.value, "lo": self.interval.lo, "hi": self.interval.hi, "findings": self.findings}


@dataclass(frozen=True)
class TestSet:
    """A test set: the digest of its volumes, labels and findings (empty where unknown), and its name."""

    id: str = ""
    name: str = ""


@dataclass(frozen=True)
class Metrics:
    """METRICS of one test set.

    Attributes:
        findings: by name, in the order of training.
        macro_values: mean over the findings where it is defined, by key in METRICS.
        macro_intervals: interval of the mean over the findings that have one, by the same keys; use `macro`.
        macro_no_interval: by key, why there is none.
        undefined: by finding, why a metric is undefined.
        n: number of volumes, exams, patients. unknown_patients: volumes whose patient is unknown, each taken for one.
        validation_minus_test: by macro key; validation also chose the epoch. On disk ``optimism``.
        warning: sentences on label leakage; warnings: everything to know before using the numbers.
        best_epoch: epoch of the evaluated weights. detail: ``scores`` where no intervals were computed.
        other: what the file holds besides.
    """

    findings: Mapping[str, FindingMetrics]
    macro_values: Mapping[str, float]
    n: Mapping[str, int] = field(default_factory=dict)
    macro_intervals: Mapping[str, Interval] = field(default_factory=dict)
    macro_no_interval: Mapping[str, str] = field(default_factory=dict)
    undefined: Mapping[str, str] = field(default_factory=dict)
    threshold: float = 0.5
    leak_patients: int | None = 0
    unknown_patients: int = 0
    test_set: TestSet = field(default_factory=TestSet)
    openings: int | None = None
    opened_by_runs: int = 0
    label_origin: tuple[str, ...] = ()
    warning: str = ""
    warnings: tuple[str, ...] = ()
    validation_minus_test: Mapping[str, float] = field(default_factory=dict)
    best_epoch: int | None = None
    detail: str = "full"
    other: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_intervals(self) -> bool:
        """Whether intervals were computed."""
        return any(one.intervals for one in self.findings.values())

    @property
    def has_tuned(self) -> bool:
        """Whether metrics at thresholds chosen on validation are stored."""
        return any("threshold_tuned" in one.values for one in self.findings.values())

    @property
    def macro(self) -> dict[str, MacroMetric]:
        """The macro means by key in METRICS, each with the interval of the same findings."""
        return {key: self._macro(name, key) for name, key in interval_keys().items() if key in self.macro_values}

    def _macro(self, name: str, key: str) -> MacroMetric:
        defined = [one for one in self.findings.values() if not math.isnan(one.value(name))]
        values = [one.value(name) for one in defined if one.interval(name)]
        value, interval = self.macro_values[key], self.macro_intervals.get(key, Interval())
        if len(values) == len(defined):
            return MacroMetric(value, interval, len(defined))
        eligible = MacroMetric(math.fsum(values) / len(values), interval, len(values)) if values else None
        return MacroMetric(value, Interval(), len(defined), eligible)

    def note(self, finding: str) -> str:
        """Return why a metric of a finding is undefined or not stored; empty if all are there."""
        stored = self.findings[finding].values
        missing = [metric.title for metric in finding_metrics() if metric.name not in stored]
        absent = f"{', '.join(missing)}: not computed by this evaluation; evaluate again" if missing else ""
        return "; ".join(filter(None, [self.undefined.get(finding, ""), absent]))

    def with_findings(self, findings: Mapping[str, FindingMetrics], **changes: Any) -> Metrics:
        """Return METRICS with other metrics by finding, and further changes."""
        return replace(self, findings=findings, **changes)

    def to_json(self) -> dict[str, Any]:
        """Return METRICS of the contracts."""
        macro = self.macro
        means = {key: one.to_json() for key, one in macro.items()}
        means |= {f"{key}_eligible": one.eligible.to_json() for key, one in macro.items() if one.eligible}
        content: dict[str, Any] = {
            "format": FORMAT,
            **self.macro_values,
            **{f"{key}_ci": interval.to_list() for key, interval in self.macro_intervals.items()},
            "macro": means,
            "n": dict(self.n),
            "leak": {"patients": self.leak_patients},
            "undefined": dict(self.undefined),
            "threshold": self.threshold,
            "test_set": {"id": self.test_set.id or None, "name": self.test_set.name},
            "openings": self.openings,
            "opened_by_runs": self.opened_by_runs,
            "label_origin": list(self.label_origin),
            "warning": self.warning,
            "warnings": list(self.warnings),
            "unknown_patients": self.unknown_patients,
        }
        if self.has_intervals:
            with_interval = [sum(bool(one.interval(name)) for one in self.findings.values()) for name in METRICS]
            content["macro_interval_labels"] = max(with_interval)
            content["macro_no_interval"] = dict(self.macro_no_interval)
        if self.validation_minus_test:
            content["optimism"] = dict(self.validation_minus_test)
        if self.best_epoch is not None:
            content["best_epoch"] = self.best_epoch
        if self.detail != "full":
            content["detail"] = self.detail
        return {
            **self.other,
            **content,
            "per_class": {label: one.to_json() for label, one in self.findings.items()},
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Metrics:
        """Return METRICS from their JSON of this or an earlier release."""
        keys = set(interval_keys().values())
        leak, test_set = content.get("leak") or {}, content.get("test_set") or {}
        return cls(
            findings={label: _finding(values) for label, values in (content.get("per_class") or {}).items()},
            macro_values={key: _number(content[key]) for key in content if key in keys},
            macro_intervals=_intervals({name: content[name] for name in content if name.removesuffix("_ci") in keys}),
            macro_no_interval=content.get("macro_no_interval") or {},
            n=content.get("n") or {},
            undefined=content.get("undefined") or {},
            threshold=content.get("threshold", 0.5),
            leak_patients=leak.get("patients", 0),
            unknown_patients=content.get("unknown_patients") or 0,
            test_set=TestSet(test_set.get("id") or "", test_set.get("name") or ""),
            openings=content.get("openings"),
            opened_by_runs=content.get("opened_by_runs") or 0,
            label_origin=tuple(content.get("label_origin") or ()),
            warning=content.get("warning") or "",
            warnings=tuple(content.get("warnings") or ()),
            validation_minus_test={key: _number(gap) for key, gap in (content.get("optimism") or {}).items()},
            best_epoch=content.get("best_epoch"),
            detail=content.get("detail", "full"),
            other={name: value for name, value in content.items() if _is_other(name, keys)},
        )


# The keys that `Metrics.to_json` can write, besides those of macro means.
_KNOWN = frozenset(
    Metrics(
        {"": FindingMetrics({}, {"": Interval(0, 1)})}, {}, validation_minus_test={"": 0}, best_epoch=0, detail="scores"
    ).to_json()
)


def _is_other(name: str, keys: set[str]) -> bool:
    return name not in _KNOWN and name.removesuffix("_ci") not in keys


def _finding(content: Mapping[str, Any]) -> FindingMetrics:
    names = [name for name in content if name != "no_interval" and not name.endswith("_ci")]
    values = {name: _number(content[name]) for name in names}
    return FindingMetrics(values, _intervals(content), content.get("no_interval") or "")


def _intervals(content: Mapping[str, Any]) -> dict[str, Interval]:
    bounds = {name.removesuffix("_ci"): pair for name, pair in content.items() if name.endswith("_ci")}
    return {name: Interval(*map(_number, pair or (None, None))) for name, pair in bounds.items()}


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _parse(text: str) -> Metrics:
    return Metrics.from_json(json.loads(text))


def read_metrics(path: Path) -> Metrics | None:
    """Read a ``metrics.json``; return None for a missing or incomplete one. It is parsed again only when it changed."""
    try:
        return read_cached(path, _parse)
    except (OSError, ValueError):
        return None
