"""The declared metrics: complete, found by every key of METRICS, and listed nowhere else."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

from ctbench_core.config import KEYS
from ctbench_core.declared import (
    METRICS,
    Metric,
    averaged_metrics,
    compared_metrics,
    finding_metrics,
    interval_keys,
    macro_keys,
    metric_of,
    metric_title,
    metrics_of,
    short_title,
)
from ctbench_core.inference import estimate, measure
from ctbench_core.metrics import metric_values

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
    assert compared_metrics() == ["auprc", "auroc"]


def test_the_interval_of_another_range_is_that_of_the_mapped_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """A metric of [-1, 1], twice the Brier score less 1, has the mapped interval."""
    from ctbench_core.metrics import metric_fns

    brier = dataclasses.replace(METRICS["brier"], interval="bootstrap")
    signed = dataclasses.replace(brier, name="signed", low=-1.0, macro="", function="signed:f")
    monkeypatch.setitem(METRICS._items, "brier", brier)
    monkeypatch.setitem(METRICS._items, "signed", signed)

    def function(*arrays: object) -> np.ndarray:
        return 2 * metric_values(["brier"], *arrays)["brier"] - 1  # type: ignore[arg-type]

    monkeypatch.setattr(metric_fns, "load", lambda name: function)
    draw = np.random.default_rng(1)
    targets = (draw.random((200, 1)) < 0.4).astype(float)
    scores = draw.random((1, 200, 1))
    plain, mapped = (
        estimate(one) for one in measure(targets, scores, np.arange(200), ["a"], ["brier", "signed"]).values()
    )
    np.testing.assert_allclose(mapped.bounds[0], 2 * plain.bounds[0] - 1, atol=1e-9)


@pytest.mark.parametrize("rule", ["obuchowski", "jackknife"])
def test_a_metric_with_a_function_cannot_have_the_error_of_another(rule: str) -> None:
    with pytest.raises(ValueError, match="is the error of another metric"):
        Metric("theirs", "Theirs", "T", kind="ranking", interval=rule, function="theirs:f")  # type: ignore[arg-type]
