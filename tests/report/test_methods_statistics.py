"""Methods and notes of a comparison: each sentence stands where it applies, and nowhere else."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ctbench_core.compare import Comparison, ModelScores, compare_models
from ctbench_core.compare.primary import Primary
from ctbench_core.compare.recipes import compare_scored_recipes
from ctbench_core.config import Config, set_keys
from ctbench_core.declared import METRICS, Metric
from ctbench_core.inference import MARK_NEAR_END, MODELS, RECIPES, SAME_PATIENTS
from ctbench_core.report import comparison_sentences
from ctbench_core.report import methods as methods_module
from ctbench_core.report.comparison import latex_table, methods_paragraph, results_paragraph
from ctbench_core.report.comparison_sentences import answer_sentences, comparison_notes, p_text
from ctbench_core.report.methods import interval_sentences, limits_sentence, training_sentences
from ctbench_core.runs import Disclosures, Provenance, Run, RunPaths, Status
from tests.model_scores import MODEL_LABELS, model_scores, recipe_scores

N = {"volumes": 240, "exams": 120, "patients": 120}


def _rare(model: ModelScores, kept: int) -> ModelScores:
    """Keep some positives of the second finding, so that it has no interval."""
    target = f"target_{MODEL_LABELS[1]}"
    frame = model.frame.copy()
    frame.loc[frame.index[frame[target] == 1][kept:], target] = 0
    return dataclasses.replace(model, frame=frame)


@pytest.fixture(scope="module")
def models() -> Comparison:
    return compare_models([model_scores("base", 0.5), model_scores("better", 2.5, seed=1)], "test")


@pytest.fixture(scope="module")
def close() -> Comparison:
    """Return two models of which neither beats the other."""
    return compare_models([model_scores("base", 0.5), model_scores("close", 0.5, seed=3)], "test")


@pytest.fixture(scope="module")
def partial() -> Comparison:
    return compare_models([_rare(model_scores(name, 1, seed=k), 8) for k, name in enumerate("ab")], "test")


@pytest.fixture(scope="module")
def unsure() -> Comparison:
    """Return a comparison without any interval: eight patients."""
    models = [model_scores(name, 1, seed=k) for k, name in enumerate("ab")]
    return compare_models([dataclasses.replace(one, frame=one.frame.head(16)) for one in models], "test")


def _recipes(first: int, second: int, overlap: float = 0.0) -> Comparison:
    recipes = {"one": recipe_scores("one", 0.5, first), "other": recipe_scores("other", 1.5, second)}
    return compare_scored_recipes(recipes, "test", dict.fromkeys(recipes, overlap))


@pytest.fixture(scope="module")
def three() -> Comparison:
    return _recipes(3, 3)


def _with(one: Comparison, **changes: Any) -> Comparison:
    return dataclasses.replace(one, disclosures=dataclasses.replace(one.disclosures, **changes))


def _has(one: Comparison, text: str) -> bool:
    """Whether a sentence stands in the Methods or in the results of a comparison."""
    return text in methods_paragraph(one) or text in results_paragraph(one)


def test_the_unit_is_the_patient_unless_patients_are_unknown(models: Comparison) -> None:
    unit, unknown = "patients with more volumes weigh more", "taken for a patient of its own, so that intervals are too"
    assert _has(models, unit) and not _has(models, unknown)
    some = _with(models, unknown_patients=3)
    assert _has(some, unit) and _has(some, "The patients of 3 volumes are unknown: each was " + unknown)
    none = _with(models, unknown_patients=240)
    assert not _has(none, unit) and _has(none, "Patients are unknown: each volume was " + unknown)


def test_results_are_no_methods(models: Comparison) -> None:
    text = methods_paragraph(models.with_margin(0.02))
    for rule in ("one-sided at .025", "called best where", "false discovery rate"):
        assert rule in text
    (detectable,) = (part for part in results_paragraph(models).split(". ") if "80 % power" in part)
    assert detectable not in text
    assert "one-sided at .025" not in methods_paragraph(models)


def test_validation_is_named_as_what_chose_epochs(models: Comparison) -> None:
    chosen = "also chose epochs and settings"
    assert not _has(models, chosen) and _has(dataclasses.replace(models, on="validation"), chosen)


def test_the_rules_are_those_of_the_metrics() -> None:
    def text(*metrics: str) -> str:
        return " ".join(interval_sentences(metrics, ["A"], 1, [], N, 0))

    obuchowski, centred, denominator = "Obuchowski (1997)", "is centred at", "in the denominator"
    both = text("auprc", "auroc")
    assert obuchowski in both and centred in both and denominator not in both
    left_out, draws = "leaving out one patient at a time", "come from 1,000 bootstrap resamples of patients"
    assert f"Standard errors of AUPRC and of macro means come from {left_out}" in both
    assert obuchowski not in text("auprc") and draws not in both
    assert centred not in text("auroc") and left_out not in text("auroc")
    assert f"Standard errors of F1 and of macro means come from {left_out}" in text("auroc", "f1")
    assert f"For F1, m is the effective patients with a volume {denominator}" in text("auroc", "f1")
    assert "For AUPRC and AUROC, the degrees of freedom are no more than" in both
    assert "Hinkley" not in text("f1") and "For AUROC, the degrees" in text("auroc", "f1")


def test_resamples_are_named_for_metrics_with_a_function_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Metric("own", "Own", "Own", kind="ranking", function="nowhere:own", interval="bootstrap")
    monkeypatch.setitem(METRICS._items, "own", own)
    text = " ".join(interval_sentences(["own"], ["A"], 1, [], N, 0))
    assert "Standard errors of Own and of macro means come from 1,000 bootstrap resamples of patients." in text
    assert "leaving out" not in text


def test_marks_are_explained_where_they_are() -> None:
    near, few = "near 1 or 0", "Few patients hold most volumes: 12 effective of 120 patients"

    def text(*marks: str) -> str:
        return " ".join(interval_sentences(["auroc"], ["A"], 1, marks, N, 0))

    assert near not in text("") and few not in text("")
    assert near in text("", MARK_NEAR_END) and few not in text("", MARK_NEAR_END)
    mark = "few patients hold most volumes: 12 effective of 120 patients"
    assert near not in text(mark) and few in text(mark)
    assert near in text(f"{mark}; {MARK_NEAR_END}") and few in text(f"{mark}; {MARK_NEAR_END}")


def test_marks_of_the_table_reach_methods(models: Comparison, close: Comparison) -> None:
    assert (models.metrics["mark"] != "").any() == _has(models, "near 1 or 0")
    assert not _has(close, "near 1 or 0")


def test_eligible_findings_are_listed_where_others_are_not(models: Comparison, partial: Comparison) -> None:
    assert not _has(models, "eligible")
    assert _has(partial, f"the mean over the 1 eligible finding ({MODEL_LABELS[0]})")
    assert f"Eligible for intervals (1 of 2 findings): {MODEL_LABELS[0]}." in comparison_notes(partial)
    assert not any("Eligible" in text for text in comparison_notes(models))


def test_without_intervals_methods_claim_none(unsure: Comparison, models: Comparison) -> None:
    assert _has(unsure, "no intervals are given")
    for absent in ("logit", "p-values", "Hinkley", "leave out", "80 % power", "Benjamini"):
        assert not _has(unsure, absent), absent
        assert _has(models, absent), absent


def test_intervals_leave_out_what_they_leave_out(models: Comparison) -> None:
    labels, thresholds = "errors of the labels", "choice of thresholds"
    assert labels in limits_sentence(["report-derived"]) and labels in limits_sentence([])
    assert labels not in limits_sentence(["manual"])
    assert labels in limits_sentence(["manual", "report-derived"])
    assert thresholds not in limits_sentence([]) and thresholds in limits_sentence([], has_thresholds=True)
    assert _has(models, "other sites, the choice of the encoder and the choice of epochs and settings") and not _has(
        models, thresholds
    )
    assert not _has(_with(models, label_origins=["manual"]), labels)


def test_the_rank_swap_is_named_where_it_ran(models: Comparison, three: Comparison) -> None:
    assert _has(models.with_swaps(19), "19 random exchanges")
    assert not _has(models, "exchanges")
    assert not _has(three.with_swaps(19), "exchanges")


@pytest.mark.parametrize(
    ("questions", "said", "unsaid"),
    [
        ({MODELS}, "Holds for these trained models only.", "recipes"),
        ({RECIPES}, "Holds for these recipes.", "patients"),
        ({SAME_PATIENTS}, "and training patients only", "if seeds"),
        ({RECIPES, SAME_PATIENTS}, "; if seeds share half or more of their training patients, only", "models"),
        ({RECIPES, MODELS}, "Holds for these recipes. Where one seed is compared, for the two models only.", "share"),
    ],
)
def test_a_table_says_what_its_answers_hold_for(questions: set[str], said: str, unsaid: str) -> None:
    text = " ".join(answer_sentences(questions))
    assert said in text
    assert unsaid not in text


def test_the_question_is_of_models_or_of_recipes(models: Comparison, three: Comparison) -> None:
    assert _has(models, "these trained models, not for other seeds") and not _has(models, "for these recipes")
    assert _has(three, "holds for these recipes.") and not _has(three, "these trained models")
    single = _recipes(3, 1)
    assert _has(single, "One seed compared: the result is for these two models only.")
    limit = "these recipes and training patients only: seeds share half of the patients or more."
    assert _has(_recipes(3, 3, 0.7), limit) and not _has(three, limit)


def test_rules_of_seeds_stand_where_seeds_are_compared(models: Comparison, three: Comparison) -> None:
    satterthwaite, few, two = "Satterthwaite's degrees", "Cochran and Cox", "Of two seeds the range"
    overlap, common = "Two seeds share 30% of their training patients", "over common seeds"
    for text in (satterthwaite, few, two, overlap, common):
        assert not _has(models, text), text
    assert _has(three, satterthwaite) and _has(three, few)
    assert not _has(three, two) and not _has(three, overlap) and not _has(three, common)
    assert _has(_recipes(3, 3, 0.3), overlap) and not _has(_recipes(3, 3, 0.6), "Two seeds share")
    five = _recipes(5, 5)
    assert _has(five, satterthwaite) and not _has(five, few)
    pair = _recipes(2, 2)
    assert _has(pair, two) and not _has(pair, satterthwaite)
    fewer = _recipes(4, 3)
    assert _has(fewer, "two means beside each, are over common seeds (other and one have seeds 0 to 2 in common)")
    assert "Means are over all seeds of a recipe, tests over common ones (other and one have" in latex_table(fewer)
    assert "over common ones" not in latex_table(three)


def test_repeats_that_differ_in_more_than_their_seed_are_counted() -> None:
    assert comparison_sentences._repeats_text(["1", "2"]) == "seeds 1, 2"
    assert comparison_sentences._repeats_text(["1, fold 2"]) == "1 repeat"


def test_a_margin_is_answered_where_there_is_one(models: Comparison, partial: Comparison) -> None:
    assert not _has(models, "margin") and not any("margin" in text for text in comparison_notes(models))
    close = compare_models([model_scores("base", 0.6), model_scores("better", 1.2, seed=1)], "test")
    one = close.with_margin(0.02)
    answer = "Macro AUROC, margin .020 (post hoc): better is non-inferior (p < .001) and not shown to be equivalent"
    assert _has(one, answer) and any(answer in text for text in comparison_notes(one))
    caution = "such tests of AUPRC rejected too often"
    assert _has(one, caution)
    only = dataclasses.replace(close, primary=Primary("auroc", margins={"auroc": 0.02})).with_margin(None)
    assert _has(only, "margin .020") and not _has(only, caution)
    near, none = models.with_margin(0.02), "no answer, because with AUROCs near 1 such tests"
    assert _has(near, none) and not _has(one, none)
    declared = dataclasses.replace(close, primary=Primary("auroc", margins={"auroc": 0.02})).with_margin(None)
    assert _has(declared, "margin .020 (declared before the test set was evaluated)") and not _has(declared, "post hoc")
    worse = compare_models([model_scores("base", 2.5, seed=1), model_scores("worse", 0.5)], "test").with_margin(0.02)
    assert _has(worse, "worse is shown to be neither non-inferior (p = 1.000) nor equivalent")
    # Where the macro mean has no interval, the answer is of the eligible findings.
    assert _has(partial.with_margin(0.02), "Macro AUROC of eligible findings, margin .020")


def test_the_detectable_difference_stands_beside_an_interval(models: Comparison, unsure: Comparison) -> None:
    row = models.differences.set_index(["metric", "label"]).loc["auroc", "macro"]
    assert any(f"macro AUROC {row['detectable']:.3f}".replace(" 0.", " .") in text for text in comparison_notes(models))
    assert not any("80 % power" in text for text in comparison_notes(unsure))


def test_primary_and_exploratory_results_are_told_apart(models: Comparison) -> None:
    none, counts, fails = "No primary analysis was declared", "Primary analysis, declared before", "does not count"
    assert _has(models, none) and not _has(models, counts)
    primary = Primary("auroc", comparison="better against base")
    held = dataclasses.replace(models, primary=primary).with_margin(None)
    assert _has(held, f"{counts} the test set was evaluated: AUROC, macro mean: better against base. All other results")
    assert not _has(held, none) and not _has(held, fails)
    late = dataclasses.replace(models, primary=dataclasses.replace(primary, problem="it was late")).with_margin(None)
    assert _has(late, f"{fails}: it was late. All results are exploratory") and not _has(late, counts)
    assert not _has(dataclasses.replace(models, on="validation"), "exploratory")
    findings = dataclasses.replace(primary, findings=(MODEL_LABELS[0],))
    named = dataclasses.replace(models, primary=findings).with_margin(0.02)
    assert _has(named, f"AUROC of {MODEL_LABELS[0]}, margin .020") and not _has(named, "Macro AUROC, margin")


def test_the_best_on_a_test_set_is_optimistic(models: Comparison, close: Comparison) -> None:
    best, optimistic = "against all others: better.", "its metrics are optimistic"
    assert _has(models, best) and _has(models, f"The best of 2 was chosen on this test set, so that {optimistic}")
    assert not any(best in text or optimistic in text for text in comparison_notes(models))  # two: the table says it
    assert _has(models, "exceeds that of the other at a level of .05") and not _has(models, "max-T")
    three = [model_scores("base", 0.6), model_scores("better", 1.4, seed=1), model_scores("third", 0.5, seed=2)]
    assert any(optimistic in text for text in comparison_notes(compare_models(three, "test")))
    assert _has(compare_models(three, "test"), "that of every other at a familywise level of .05 over all pairs (max-T")
    assert not _has(close, "called best where") and not _has(close, optimistic)
    validation = dataclasses.replace(models, on="validation")
    assert _has(validation, best) and not _has(validation, optimistic)


def test_excluded_volumes_are_counted(models: Comparison) -> None:
    assert not _has(models, "excluded")
    some = dataclasses.replace(models, common=dataclasses.replace(models.common, left_out=7))
    assert _has(some, "Volumes not scored by every model were excluded (7)")


def test_disclosures_come_last(models: Comparison) -> None:
    one = dataclasses.replace(models, disclosures=Disclosures("test", N, label_origins=["manual"], leak_patients=2))
    assert methods_paragraph(one).endswith("Label origin: manual.")
    assert _has(one, "2 of its patients were also in the training") and not _has(models, "of its patients w")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return a function that gives the training sentences of a run with these keys and training prevalences."""

    def sentences(values: dict[str, Any], prevalence: dict[str, float | None]) -> str:
        run = Run(RunPaths(Path("run")), Status(epoch=3), set_keys(Config(), values))
        found = Provenance(prevalence={"train": prevalence})
        monkeypatch.setattr(methods_module, "read_provenance", lambda paths: found)
        return " ".join(training_sentences([run]))

    return sentences


def test_the_budget_draw_is_named_with_the_prevalence_it_made(drawn: Callable[..., str]) -> None:
    shares, random, shift = {"Emphysema": 0.25, "Mass": None}, "drawn at random", "shift prevalence"
    plain = drawn({}, shares)
    assert "drawn" not in plain and shift not in plain
    budget = {"data.budget": 50}
    text = drawn(budget | {"data.budget_draw": "random"}, shares)
    assert f"of 50 patients (training and validation; {random})" in text and shift not in text
    text = drawn(budget | {"data.budget_draw": "covering"}, shares)
    assert "(training and validation; drawn so that each finding appears)" in text and random not in text
    assert f"These draws {shift}; in the training data it was: Emphysema .250." in text
    text = drawn(budget | {"data.budget_draw": "covering", "data.selection": "volumes.csv"}, shares)
    assert "drawn" not in text and shift not in text


@pytest.mark.parametrize(("p", "text"), [(0.0123, "p = .012"), (0.0001, "p < .001"), (1.0, "p = 1.000")])
def test_p_values_read_as_in_a_paper(p: float, text: str) -> None:
    assert p_text(p) == text


def test_every_row_without_an_interval_says_why(partial: Comparison, unsure: Comparison) -> None:
    for table in (*(one.metrics for one in (partial, unsure)), *(one.differences for one in (partial, unsure))):
        assert isinstance(table, pd.DataFrame)
        assert ((table["lo"].isna()) == (table["reason"] != "")).all()
