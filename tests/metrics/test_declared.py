"""The declared metrics: complete, found by every key of METRICS, and listed nowhere else."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

from ctbench_core.config import KEYS
from ctbench_core.declared import (
    METRICS,
    averaged_metrics,
    finding_metrics,
    interval_keys,
    macro_keys,
    metric_of,
    metric_title,
    metrics_of,
    short_title,
)
from ctbench_core.inference.intervals import interval_rule, rate_interval
from ctbench_core.metrics import compared_metric_fn, metric_values

PROJECT = Path(__file__).resolve().parents[2]


def test_every_metric_can_be_shown_and_computed() -> None:
    draw = np.random.default_rng(0)
    targets, scores = draw.integers(0, 2, (60, 2)), draw.random((60, 2))
    values = metric_values([metric.name for metric in finding_metrics()], targets, scores)
    for metric in finding_metrics():
        assert metric.title and metric.short and metric.help
        assert np.all((metric.low <= values[metric.name]) & (values[metric.name] <= metric.high)), metric.name
    for metric in averaged_metrics():
        assert metric.interval, metric.name
    assert all(metric.help for metric in metrics_of("calibration", "retrieval"))


def test_a_key_of_the_files_leads_to_its_metric_and_title() -> None:
    assert metric_of("f1_macro") is metric_of("f1_tuned") is METRICS["f1"]
    assert (metric_title("f1_macro"), short_title("f1_tuned")) == ("F1", "F1, tuned")
    assert metric_title("f1_tuned") == "F1 at tuned thresholds"
    assert (metric_title("skill"), metric_title("unheard of")) == ("Skill", "unheard of")
    assert interval_keys() == {"auprc": "auprc", "auroc": "auroc", "f1": "f1_macro", "f1_tuned": "f1_tuned"}


def test_early_stopping_offers_the_macro_means_and_the_loss() -> None:
    assert list(KEYS["training.monitor"].choices) == [*macro_keys(), "loss"]


def test_no_file_keeps_a_list_of_its_own() -> None:
    pair = re.compile(r"""["']auprc["'],\s*["']auroc["']|["']auroc["'],\s*["']auprc["']""")
    files = [path for room in ("ctbench_core", "ctbench_ui") for path in (PROJECT / room).rglob("*.py")]
    own = PROJECT / "ctbench_core" / "declared" / "metrics.py"
    listed = [path.name for path in files if path != own and pair.search(path.read_text(encoding="utf-8"))]
    assert listed == ["training_record.py"]  # the names in checkpoints of the older system


def test_several_metrics_are_computed_at_once_each_as_alone() -> None:
    draw = np.random.default_rng(4)
    targets, scores = draw.integers(0, 2, (80, 3)), draw.random((80, 3))
    values = metric_values(["auroc", "f1", "balanced_accuracy"], targets, scores, thresholds=[0.2, 0.5, 0.7])
    for c, threshold in enumerate((0.2, 0.5, 0.7)):
        y, p = targets[:, c], scores[:, c]
        assert values["auroc"][c] == pytest.approx(roc_auc_score(y, p), abs=1e-12)
        assert values["f1"][c] == pytest.approx(f1_score(y, p >= threshold), abs=1e-12)
        assert values["balanced_accuracy"][c] == pytest.approx(balanced_accuracy_score(y, p >= threshold), abs=1e-12)
    assert list(compared_metric_fn(targets.astype(float), scores)) == ["auprc", "auroc"]


def test_the_interval_of_another_range_is_that_of_the_mapped_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    from ctbench_core.declared import Metric

    monkeypatch.setitem(METRICS._items, "signed", Metric("signed", "Signed", "S", low=-1.0, interval="rate"))
    draws = np.random.default_rng(1).normal(0.7, 0.05, (500, 1))
    value, error, dof, patients = np.array([0.7]), np.array([0.05]), np.array([np.inf]), np.array([50])
    plain = rate_interval("a rate", value, draws, error, dof, patients)
    signed = rate_interval("signed", 2 * value - 1, 2 * draws - 1, 2 * error, dof, patients)
    np.testing.assert_allclose(signed, 2 * plain - 1, atol=1e-12)
    assert interval_rule("signed") == interval_rule("a difference") == "rate"
    assert (interval_rule("auroc"), interval_rule("auprc")) == ("moderated", "percentile")
