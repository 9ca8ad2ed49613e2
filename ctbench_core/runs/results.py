"""The metrics of a test set, typed: METRICS of the contracts, with one writer and one reader.

Undefined values are NaN in memory and null on disk. Files of earlier releases are upgraded as they are read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypedDict

import msgspec

from ctbench_core.declared import finding_metrics, interval_keys, metric_title
from ctbench_core.runs.external import ExternalTest
from ctbench_core.runs.readers import read_if_there
from ctbench_core.stored import Count, Number, number, parse_json

# 1: without ``macro``, ``test_set``, ``warnings`` and ``unknown_patients``. 2: ``<macro>_ci`` was the interval of the mean over
# the findings that had one, whatever the macro beside it averaged.
FORMAT = 3


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
    """The metrics of one finding by key: values, intervals, and what to know of an interval.

    Attributes:
        no_interval: why the finding has no interval; reasons: by key, why one metric has none. marks: by key, such as
            "near 1: at least 93 %".
    """

    values: Mapping[str, float]
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    no_interval: str = ""
    reasons: Mapping[str, str] = field(default_factory=dict)
    marks: Mapping[str, str] = field(default_factory=dict)

    def value(self, key: str) -> float:
        """Return a metric; NaN where it is undefined or not stored."""
        return self.values.get(key, math.nan)

    def interval(self, key: str) -> Interval:
        """Return the interval of a metric."""
        return self.intervals.get(key, Interval())

    def interval_note(self) -> str:
        """Return why intervals are missing: of the finding, else by metric."""
        return self.no_interval or _by_text(self.reasons)

    def mark_note(self) -> str:
        """Return what to know of its intervals, with the metrics that it concerns."""
        return _by_text(self.marks)

    def with_values(self, values: Mapping[str, float]) -> FindingMetrics:
        """Return the finding with further metrics."""
        return replace(self, values={**self.values, **values})

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``per_class``."""
        bounds = {f"{key}_ci": interval.to_list() for key, interval in self.intervals.items()}
        notes = {"no_interval": self.no_interval, "no_interval_of": dict(self.reasons), "marks": dict(self.marks)}
        return {**self.values, **bounds, **{name: note for name, note in notes.items() if note}}


def _by_text(texts: Mapping[str, str]) -> str:
    """Join texts by key, those that several keys share once: ``Recall, F1: text``."""
    keys: dict[str, list[str]] = {}
    for key, text in texts.items():
        keys.setdefault(text, []).append(metric_title(key))
    return "; ".join(f"{', '.join(titles)}: {text}" for text, titles in keys.items())


# Why a run of a study has no intervals: it is evaluated without them.
SCORES_ONLY = "only scores are stored"


@dataclass(frozen=True)
class MacroMetric:
    """A mean over the findings where a metric is defined.

    Attributes:
        interval: of this very mean: given only where all its findings have enough patients of each class.
        findings: how many it averages.
        eligible: where only some of them have, the mean over these, with its interval.
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
        macro_values: mean over the findings where it is defined, by key in METRICS. macro: the same with intervals, once
            they are computed (``means``). macro_no_interval: by key, why there is none.
        eligible: the findings with enough patients of each class for an interval.
        undefined: by finding, why a metric is undefined.
        n: number of volumes, exams, patients. unknown_patients: volumes whose patient is unknown, each taken for one.
        validation_minus_test: by macro key; validation also chose the epoch. On disk ``optimism``.
        warning: sentences on label leakage; warnings: everything to know before using the numbers.
        best_epoch: epoch of the evaluated weights. detail: ``scores`` where no intervals were computed.
        one_volume: the same with one volume a patient, where patients have several: a second analysis.
        external: how the set was read, where it is of another data set than the training data.
        other: what the file holds besides. format: of the file; intervals of earlier ones are by other rules.
    """

    findings: Mapping[str, FindingMetrics]
    macro_values: Mapping[str, float]
    n: Mapping[str, int] = field(default_factory=dict)
    means: Mapping[str, MacroMetric] = field(default_factory=dict)
    macro_no_interval: Mapping[str, str] = field(default_factory=dict)
    eligible: tuple[str, ...] = ()
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
    one_volume: Metrics | None = None
    external: ExternalTest | None = None
    other: Mapping[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def is_current(self) -> bool:
        """Whether intervals are by the rules of today, not by those of an earlier format."""
        return self.format >= FORMAT

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
        """The macro means by key in METRICS, with intervals where they were computed."""
        return {
            key: self.means.get(key) or self._bare(name, key)
            for name, key in interval_keys().items()
            if key in self.macro_values
        }

    def no_interval(self, key: str) -> str:
        """Return why a macro mean has no interval; empty where it has one, or is not stored."""
        if key not in self.macro or self.macro[key].interval:
            return ""
        return self.macro_no_interval.get(key) or ("" if self.has_intervals else SCORES_ONLY)

    def _bare(self, name: str, key: str) -> MacroMetric:
        defined = sum(not math.isnan(one.value(name)) for one in self.findings.values())
        return MacroMetric(self.macro_values[key], findings=defined)

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
            **{f"{key}_ci": one.interval.to_list() for key, one in self.means.items()},
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
            content["eligible"] = list(self.eligible)
            content["macro_no_interval"] = dict(self.macro_no_interval)
        if self.validation_minus_test:
            content["optimism"] = dict(self.validation_minus_test)
        if self.best_epoch is not None:
            content["best_epoch"] = self.best_epoch
        if self.detail != "full":
            content["detail"] = self.detail
        if self.one_volume is not None:
            own = self.one_volume.to_json()
            content["one_volume_a_patient"] = {name: own[name] for name in own if name in _OF_SUBSET}
        if self.external is not None:
            content["external"] = self.external.to_json()
        return {
            **self.other,
            **content,
            "per_class": {label: one.to_json() for label, one in self.findings.items()},
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Metrics:
        """Return METRICS from their JSON of this or an earlier release.

        Raises:
            ValueError: a metric is no number.
        """
        keys = set(interval_keys().values())
        leak, test_set = content.get("leak") or {}, content.get("test_set") or {}
        findings = {label: _finding(values) for label, values in (content.get("per_class") or {}).items()}
        macro_values = {key: number(content[key]) for key in content if key in keys}
        intervals = _intervals({name: content[name] for name in content if name.removesuffix("_ci") in keys})
        version = content.get("format", 1)
        return cls(
            findings=findings,
            macro_values=macro_values,
            means=_means(content, intervals) if version >= FORMAT else _old_means(findings, macro_values, intervals),
            macro_no_interval=content.get("macro_no_interval") or {},
            eligible=tuple(
                content.get("eligible") or [name for name, one in findings.items() if any(one.intervals.values())]
            ),
            n=content.get("n", {}),
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
            validation_minus_test={key: number(gap) for key, gap in (content.get("optimism") or {}).items()},
            best_epoch=content.get("best_epoch"),
            detail=content.get("detail", "full"),
            one_volume=cls.from_json(content["one_volume_a_patient"]) if "one_volume_a_patient" in content else None,
            external=ExternalTest.from_json(content["external"]) if content.get("external") else None,
            format=version,
            other={name: value for name, value in content.items() if _is_other(name, keys)},
        )


# What METRICS of a subset say: the rest is that of the whole set.
_OF_SUBSET = frozenset(
    (
        *("format", "macro", "n", "undefined", "eligible", "macro_no_interval", "per_class"),
        *interval_keys().values(),
        *(f"{key}_ci" for key in interval_keys().values()),
    )
)

# The keys that `Metrics.to_json` can write, besides those of macro means.
_KNOWN = frozenset(
    Metrics(
        {"": FindingMetrics({}, {"": Interval(0, 1)})},
        {},
        validation_minus_test={"": 0},
        best_epoch=0,
        detail="scores",
        one_volume=Metrics({}, {}),
        external=ExternalTest(),
    ).to_json()
)


_RETIRED = {"macro_interval_labels"}


def _is_other(name: str, keys: set[str]) -> bool:
    return name not in _KNOWN | _RETIRED and name.removesuffix("_ci") not in keys


_NOTES = ("no_interval", "no_interval_of", "marks")


def _finding(content: Mapping[str, Any]) -> FindingMetrics:
    msgspec.convert(content, _Notes)
    names = [name for name in content if name not in _NOTES and not name.endswith("_ci")]
    values = {name: number(content[name]) for name in names}
    no_interval, reasons, marks = (content.get(name) for name in _NOTES)
    return FindingMetrics(values, _intervals(content), no_interval or "", reasons or {}, marks or {})


def _means(content: Mapping[str, Any], intervals: Mapping[str, Interval]) -> dict[str, MacroMetric]:
    """Return the macro means with intervals from the object ``macro``; only where intervals were computed."""
    stored = content.get("macro") or {}
    means = {key: _mean(stored[key]) for key in intervals if key in stored}
    eligible = {key: _mean(stored[f"{key}_eligible"]) for key in means if f"{key}_eligible" in stored}
    return {key: replace(one, eligible=eligible.get(key)) for key, one in means.items()}


def _mean(content: Mapping[str, Any]) -> MacroMetric:
    bounds = Interval(number(content.get("lo")), number(content.get("hi")))
    return MacroMetric(number(content.get("value")), bounds, content.get("findings") or 0)


def _old_means(
    findings: Mapping[str, FindingMetrics], values: Mapping[str, float], intervals: Mapping[str, Interval]
) -> dict[str, MacroMetric]:
    """Return the macro means of a file before format 3, whose intervals are of the findings that have one."""
    means = {}
    for name, key in interval_keys().items():
        if key not in values or key not in intervals:
            continue
        defined = [one for one in findings.values() if not math.isnan(one.value(name))]
        own = [one.value(name) for one in defined if one.interval(name)]
        if len(own) == len(defined):
            means[key] = MacroMetric(values[key], intervals[key], len(defined))
        else:
            eligible = MacroMetric(math.fsum(own) / len(own), intervals[key], len(own)) if own else None
            means[key] = MacroMetric(values[key], Interval(), len(defined), eligible)
    return means


def _intervals(content: Mapping[str, Any]) -> dict[str, Interval]:
    bounds = {name.removesuffix("_ci"): pair for name, pair in content.items() if name.endswith("_ci")}
    return {name: _interval(pair) for name, pair in bounds.items()}


def _interval(bounds: Any) -> Interval:
    if bounds is None:
        return Interval()
    if not isinstance(bounds, list) or len(bounds) != 2:
        raise ValueError(f"an interval is {bounds!r}, expected its two bounds")
    lo, hi = bounds
    interval = Interval(number(lo), number(hi))
    if math.isnan(interval.lo) != math.isnan(interval.hi) or interval.lo > interval.hi:
        raise ValueError(f"an interval has the bounds {lo} and {hi}")
    return interval


class _Subset(TypedDict, total=False):
    """The fields of ``one_volume_a_patient``."""

    format: Count
    n: dict[str, Count]
    undefined: dict[str, str]
    eligible: list[str]
    macro_no_interval: dict[str, str]
    macro: dict[str, dict[str, Number | None]]
    per_class: dict[str, dict[str, Any]]


class File(_Subset, total=False):
    """The fields of ``metrics.json`` besides the macro metrics, which `number` checks."""

    leak: dict[str, Count | None] | None
    threshold: Number
    unknown_patients: Count
    test_set: dict[str, str | None] | None
    openings: Count | None
    opened_by_runs: Count
    label_origin: list[str]
    warning: str
    warnings: list[str]
    optimism: dict[str, Number | None]
    best_epoch: Count | None
    detail: str
    one_volume_a_patient: _Subset
    external: dict[str, Any] | None


class _Notes(TypedDict, total=False):
    """The texts of a finding."""

    no_interval: str
    no_interval_of: dict[str, str]
    marks: dict[str, str]


def _parse(text: str) -> Metrics:
    return Metrics.from_json(parse_json(text, File))


def read_metrics(path: Path) -> Metrics | None:
    """Read a ``metrics.json``, parsed again only when it changed; return None for a missing one.

    Raises:
        DamagedFile: it cannot be read.
    """
    return read_if_there(path, _parse, None)
