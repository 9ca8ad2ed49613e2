"""The simulations of the benchmarks: truths against closed forms, runner and table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtr

from benchmarks.bootstrap import largest_gap, plain_loop, resampled, scored_cohort
from benchmarks.cohorts import Law, draw_cohort, normal_auroc, seed_mean, strength
from benchmarks.coverage import folds, models, retrieval, runner
from benchmarks.coverage.designs import GRIDS, Design, read_designs
from benchmarks.coverage.runner import AGAIN, FIRST, Store, run
from benchmarks.coverage.table import Row, rows_of, tables
from benchmarks.coverage.tally import FIELDS, Tally
from benchmarks.coverage.truths import Truth, truth_of
from ctbench_core.inference import calibration_lines, estimate, net_benefit
from ctbench_core.metrics import ranking_metrics, thresholded_metrics


@pytest.fixture(scope="module")
def plain() -> tuple[Design, Truth]:
    design = Design("plain", prevalence=(0.2,) * 3, patients=80)
    return design, truth_of(design, 40_000)


def test_a_tally_counts_each_side() -> None:
    tally = Tally()
    bounds = np.array([[0.1, 0.3], [0.5, 0.9], [0.7, 0.8], [np.nan, np.nan]])
    plain = np.array([[0.1, 0.2], [0.7, 0.8], [0.5, 0.8], [0.0, 1.0]])
    p, marks, value = np.array([0.01, 0.2, 0.04, 0.01]), ["", "near 1", "", "near 1"], np.array([0.2, 0.7, 0.75, 0.5])
    tally.add("auroc", bounds, 0.6, value=value, p=p, marks=marks, plain=plain, minor=4.0)
    counts = tally["auroc"]
    shares = {"requested": 4, "given": 3, "covered": 1, "above": 1, "rejected": 2, "marked": 1, "plain_covered": 1}
    assert {field: counts[field] for field in shares} == shares
    assert counts["width"] == pytest.approx(0.7)
    assert counts["plain_width"] == pytest.approx(0.5)
    assert counts["square"] == pytest.approx(0.4**2 + 0.1**2 + 0.15**2)
    assert (counts["minor"], counts["truth"]) == pytest.approx((12.0, 1.8))
    tally.add_test("rank swap", np.array([True, True, False]), np.array([True, False, True]))
    assert (tally["rank swap"]["given"], tally["rank swap"]["rejected"]) == (2, 1)


def test_cohorts_are_what_their_law_says() -> None:
    draw = np.random.default_rng(1)
    huge = draw_cohort(draw, 200, Law((0.3,), "huge"))
    assert np.bincount(huge.patient).max() > 25
    assert len(np.unique(draw_cohort(draw, 500, Law((0.3,), is_ordinal=True)).scores(draw, 0.5, 1.0))) == 5
    rows = draw_cohort(draw, 5000, Law((0.2,), "label"))
    assert rows.targets.mean() > 0.25  # positive patients have more rows
    scored = draw_cohort(draw, 5000, Law((0.2,), "score"))
    assert scored.shared.mean() > 0.1  # patients of high scores have more rows
    equal = draw_cohort(draw, 1000, Law((0.3,), "equal"))
    assert (np.bincount(equal.patient) == 3).all()
    varies = {
        kind: np.mean(
            [len(np.unique(own)) > 1 for own in _by_patient(draw_cohort(draw, 800, Law((0.3,), "zipf", kind)))]
        )
        for kind in ("stay", "change")
    }
    assert varies["change"] > 1.3 * varies["stay"]


def _by_patient(cohort) -> list[np.ndarray]:
    ends = np.flatnonzero(np.diff(cohort.patient)) + 1
    return [own for own in np.split(cohort.targets[:, 0], ends) if len(own) > 1]


@pytest.mark.parametrize(("tails", "spread"), [("normal", 0.5), ("t3", 1.0), ("laplace", 2.0)])
def test_strength_gives_the_auroc(tails: str, spread: float) -> None:
    draw = np.random.default_rng(2)
    law = Law((0.5,), "one", tails=tails)
    cohort = draw_cohort(draw, 60_000, law)
    scores = cohort.scores(draw, 0.5, strength(0.8, tails, spread), spread)
    assert ranking_metrics(cohort.targets, scores).auroc[0] == pytest.approx(0.8, abs=0.006)


def test_seeds_of_another_spread_have_the_same_mean_auroc() -> None:
    nodes, weights = np.polynomial.hermite_e.hermegauss(31)
    weights = weights / weights.sum()
    other = seed_mean(1.2, 1.0, 0.04, 0.3)
    means = [weights @ [normal_auroc(mean + s * x) for x in nodes] for mean, s in ((1.2, 0.04), (other, 0.3))]
    assert other != pytest.approx(1.2, abs=1e-3)
    assert means[0] == pytest.approx(means[1], abs=1e-9)


def test_truths_are_those_of_closed_forms(plain: tuple[Design, Truth]) -> None:
    design, truth = plain
    assert truth.values["auroc"][0] == pytest.approx(0.8, abs=0.004)
    mean = design.means()[0]
    assert truth.gap("auroc")[0] == pytest.approx(0.8 - normal_auroc(mean - 0.25), abs=0.002)
    recalls = truth.rates(np.array([0.5, 1.0, 1.5]))["recall"]
    np.testing.assert_allclose(recalls, ndtr(mean - np.array([0.5, 1.0, 1.5])), atol=0.01)
    npv = truth.rates(np.full(3, 1.0))["npv"][0]
    expected = 0.8 * ndtr(1.0) / (0.8 * ndtr(1.0) + 0.2 * ndtr(1.0 - mean))
    assert npv == pytest.approx(expected, abs=0.005)


def test_truths_of_forecasts_and_rates_are_those_of_other_rows(plain: tuple[Design, Truth]) -> None:
    design, truth = plain
    draw = np.random.default_rng(8)
    cohort = draw_cohort(draw, 20_000, design.law)
    scores = cohort.scores(draw, 0.5, np.array(design.means()))
    lines = calibration_lines(cohort.targets, truth.probabilities(scores), cohort.patient)
    np.testing.assert_allclose(lines.slope, 0.8, atol=0.05)
    np.testing.assert_allclose(lines.intercept, truth.values["intercept"], atol=0.06)
    called = thresholded_metrics(cohort.targets, scores, 1.0)
    for name, true in truth.rates(np.full(3, 1.0)).items():
        np.testing.assert_allclose(called.value(name), true, atol=0.02)
    curve = net_benefit(cohort.targets[:, 0], truth.probabilities(scores)[:, 0], cohort.patient)
    for limit in models.BENEFITS:
        place = int(np.argmin(np.abs(curve.threshold - limit)))
        assert curve.gain[place] == pytest.approx(truth.net_benefit_gain(limit)[0], abs=0.01)


def test_equal_models_have_no_gap_and_unlike_curves_only_in_auprc() -> None:
    equal = truth_of(Design("equal", gap=0), 20_000)
    assert (equal.gap("auroc") == 0).all()
    assert (equal.gap("recipe auprc") == 0).all()
    unlike = truth_of(Design("unlike", gap=0, spread=0.5, second_spread=2.0), 20_000)
    assert (unlike.gap("auroc") == 0).all()
    assert (np.abs(unlike.gap("auprc")) > 0.1).all()


def test_a_repeat_counts_every_interval(plain: tuple[Design, Truth]) -> None:
    design, truth = plain
    tally = Tally()
    models.repeat(np.random.default_rng(2), replace(design, extra=True), truth, tally, has_plain=True)
    for name in ("auroc", "auprc", "f1", "recall", "npv", "brier", "two models, auroc", "two recipes of 5, auprc"):
        assert tally[name]["requested"] == 3
        assert tally[f"macro {name}"]["requested"] == 1
    assert tally["slope"]["given"] == 3
    assert tally["net benefit at 0.1"]["requested"] == 3
    assert tally["rank swap, auroc"]["given"] == tally["best of four models, auprc"]["requested"] == 1
    assert 0 < tally["auroc"]["width"] < 3
    assert tally["auroc"]["plain_given"] == 3 and 0 < tally["macro f1"]["plain_width"] < 1
    assert tally["auroc"]["beside_width"] == tally["auroc"]["width"]
    models.repeat(np.random.default_rng(2), design, truth, tally)
    assert tally["auroc"]["plain_given"] == 3 and tally["auroc"]["given"] == 6


def test_rows_taken_for_patients_cover_less() -> None:
    law, covered = Law((0.4,) * 3, "1 to 5"), {"patients": 0, "rows": 0}
    for k in range(60):
        draw = np.random.default_rng([9, k])
        cohort = draw_cohort(draw, 60, law)
        scores = cohort.scores(draw, 0.5, strength(0.7))[None]
        for unit, codes in (("patients", cohort.patient), ("rows", np.arange(len(cohort.patient)))):
            figures = models.figures_of(["auroc"], replace(cohort, patient=codes), scores)["auroc"]
            low, high = estimate(figures).bounds[:3].T
            covered[unit] += int(((low <= 0.7) & (high >= 0.7)).sum())
    assert covered["patients"] / 180 > 0.88
    assert covered["rows"] / 180 < 0.8


def test_folds_and_retrieval_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folds, "_TRAININGS", 4)
    monkeypatch.setattr(folds, "_TEST", 2000)
    design, tally = Design("folds", "folds", prevalence=(0.3,) * 3, patients=150, gap=0, seeds=(1, 2)), Tally()
    truth = folds.truth_of_folds(design)
    assert 0.6 < truth.first["auroc"].mean() < 0.95
    folds.repeat(np.random.default_rng(1), design, truth, tally)
    assert tally["K-fold x 2, two recipes, auroc"]["requested"] == 3
    assert tally["macro K-fold x 1, same recipe, other seeds, auprc"]["truth"] == 0
    queries = Design("queries", "retrieval", auroc=(0.7,) * 3, patients=50)
    recall = retrieval.truth_of_queries(queries)
    assert recall["recall_at_5"] == pytest.approx(0.7, abs=0.004)
    retrieval.repeat(np.random.default_rng(1), queries, recall, tally)
    assert tally["recall_at_5"]["given"] == tally["mrr"]["given"] == 1


def test_grids_are_different_and_wide() -> None:
    tuning, judging = (read_designs(path) for path in GRIDS.values())
    assert not {replace(one, name="") for one in tuning} & {replace(one, name="") for one in judging}
    single = [one for one in judging if one.kind == "models"]
    assert len(single) >= 12
    for key, low, high in (("prevalence", 0.015, 0.3), ("auroc", 0.5, 0.99)):
        values = [value for one in single for value in getattr(one, key)]
        assert (min(values), max(values)) == (low, high)
    assert (min(one.patients for one in single), max(one.patients for one in single)) == (60, 1500)
    assert {one.clusters for one in single} >= {"equal", "zipf", "label", "score", "huge"}
    assert {one.tails for one in single} == {"normal", "t3", "laplace"}


def test_unknown_keys_of_a_design_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text("- {name: a, prevalance: 0.1}", encoding="utf-8")
    with pytest.raises(ValueError, match="a: unknown keys: prevalance"):
        read_designs(path)


def test_an_interrupted_run_ends_with_the_same_tally(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "BATCH", 4)
    monkeypatch.setattr(retrieval, "PATIENTS", 10_000)
    designs = [Design("queries", "retrieval", auroc=(0.7,) * 3, patients=40)]
    whole, cut, shards = (tmp_path / name for name in ("whole", "cut", "shard"))
    assert run(whole, designs, 16)
    lines = whole.read_text(encoding="utf-8").splitlines()
    cut.write_text("\n".join(lines[:2]) + "\n" + lines[2][:40], encoding="utf-8")
    assert run(cut, designs, 16)
    assert len(Store([cut]).entries) == 4  # batches that were there are not simulated again
    parts = [shards.with_suffix(f".{k}") for k in range(2)]
    for k, path in enumerate(parts):
        run(path, designs, 16, shard=(k, 2))
    expected = Store([whole]).tally("queries", FIRST)
    assert expected[1] == 16
    for paths in ([cut], parts):
        found = Store(paths).tally("queries", FIRST)
        assert found[1] == 16
        for name in expected[0].sums:
            np.testing.assert_allclose(found[0].sums[name], expected[0].sums[name], rtol=1e-9)
    assert not run(tmp_path / "none", designs, 16, seconds=-1)


def test_a_rerun_is_on_new_streams_and_its_verdict_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "BATCH", 4)
    monkeypatch.setattr(retrieval, "PATIENTS", 10_000)
    design = Design("queries", "retrieval", auroc=(0.7,) * 3, patients=40)
    path = tmp_path / "store"
    run(path, [design], 4, FIRST)
    run(path, [design], 4, AGAIN)
    first, again = (json.loads(line)["tally"] for line in path.read_text(encoding="utf-8").splitlines())
    assert first["mrr"] != again["mrr"]
    low = {name: _counts(200, 150) for name in ("recall_at_5", "mrr")}
    entry = {"cell": "queries", "stream": FIRST, "batch": 0, "seconds": 0, "tally": low}
    good = entry | {"stream": AGAIN, "tally": {"recall_at_5": _counts(200, 190), "mrr": _counts(200, 150)}}
    path.write_text(f"{json.dumps(entry)}\n{json.dumps(good)}\n", encoding="utf-8")
    verdicts = {row.figure: (row.is_rerun, row.verdict) for row in rows_of(Store([path]), [design])}
    assert verdicts == {"recall_at_5": (True, ""), "mrr": (True, "low")}


def _counts(given: int, covered: int, **others: float) -> list[float]:
    row = dict.fromkeys(FIELDS, 0.0) | {"requested": given, "given": given, "covered": covered, "width": 1.0}
    return [float((row | others)[field]) for field in FIELDS]


def _row(figure: str, design: Design, given: int, covered: int, **others: float) -> Row:
    return Row(design, figure, given, False, dict(zip(FIELDS, _counts(given, covered, **others))))


def test_verdicts_follow_what_must_hold() -> None:
    some, null = Design("some"), Design("null", gap=0, patients=400)
    many = {"minor": 1000 * 20.0}
    assert _row("auroc", some, 1000, 929).verdict == "low"
    assert _row("auroc", some, 1000, 931).verdict == ""
    assert _row("auroc", some, 1000, 980, **many).verdict == "high"
    assert _row("auroc", some, 1000, 980, minor=1000 * 9.0).verdict == ""
    assert _row("macro auprc", some, 1000, 980, **many).verdict == ""
    assert _row("rows taken for patients, auroc", some, 1000, 500).verdict == ""
    assert _row("two models, auroc", null, 1000, 930, rejected=70).verdict == "liberal"
    assert _row("two models, auroc", null, 1000, 980, rejected=20).verdict == "timid"
    assert _row("two recipes of 3, auroc", null, 1000, 980, rejected=20).verdict == ""
    assert _row("non-inferior, two models, auroc", some, 1000, 0, rejected=34).verdict == "liberal"
    assert _row("best of four models, auroc", null, 1000, 0, rejected=60).verdict == ""
    unlike = replace(null, spread=0.5, second_spread=2.0)
    assert _row("best of four models, auprc", unlike, 1000, 0, rejected=900).verdict == ""  # they are not equal
    assert _row("best of four models, auroc", unlike, 1000, 0, rejected=900).verdict == "liberal"
    assert not _row("two models, auprc", unlike, 1000, 950, rejected=900).is_null


def test_power_stands_beside_that_of_a_known_variance() -> None:
    # An estimate of deviation 1 around 2.8: the z test rejects with 80 % power.
    row = _row("two models, auroc", Design("some"), 1000, 950, truth=2800, error=0.0, square=1000.0, rejected=790)
    assert row.oracle_power == pytest.approx(80.0, abs=0.1)
    assert "| some | two models, AUROC | 79 | 80 |" in tables([row])


def test_tables_show_every_cell(plain: tuple[Design, Truth]) -> None:
    design, truth = plain
    tally = Tally()
    for k in range(2):
        models.repeat(np.random.default_rng([4, k]), design, truth, tally)
    tally.merge(Tally({name: 100 * values for name, values in tally.sums.items()}))
    rows = [Row(design, name, 202, False, tally[name]) for name in tally.sums]
    text = tables(rows)
    assert text.count("| plain |") >= 2
    for title in ("Coverage, one model", "Errors of type I", "Power", "Given, marked, width", "Outside"):
        assert title in text
    assert "| macro AUPRC |" in text


def test_a_few_resamples_of_18_findings_equal_the_plain_loop() -> None:
    targets, scores, patients = scored_cohort()
    assert targets.shape == (3039, 18)
    theirs = plain_loop(targets, scores, patients, 4)
    assert largest_gap(resampled(targets, scores, patients, 4), theirs) < 1e-12
