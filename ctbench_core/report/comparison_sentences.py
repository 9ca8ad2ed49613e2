"""Say what a comparison answers, in sentences for the page, the command line and Methods alike.

Each function returns nothing where its subject does not apply.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import pandas as pd

from ctbench_core.compare import MACROS, Comparison, Pair, seeds_text
from ctbench_core.declared import metric_title
from ctbench_core.formatting import format_metric, format_p, plural
from ctbench_core.inference import MARK_NEAR_END, MODELS, RECIPES, SAME_PATIENTS
from ctbench_core.runs import VALIDATION

_NAMED = 3  # models that a sentence lists
_MACRO_TITLES = dict(zip(MACROS, ("macro {}", "macro {} of eligible findings")))


def column_title(label: str, metric: str) -> str:
    """Name a row of a comparison in a sentence: ``macro AUROC``, ``AUROC of Emphysema``."""
    return _MACRO_TITLES.get(label, f"{{}} of {label}").format(metric_title(metric))


def lead_sentences(comparison: Comparison, write: Callable[[str], str] = str) -> list[str]:
    """Say what is compared with what, on which volumes, in which metrics and by which test.

    Args:
        write: how a name is written: of a model with its mark, of the set.
    """
    common = comparison.common
    names = [write(marked_name(name, comparison.marks)) for name in common.names]
    out = f"; {plural(common.left_out, 'other')} not in every run" if common.left_out else ""
    macros = dict.fromkeys(comparison.differences.loc[comparison.differences["label"].isin(MACROS), "metric"])
    n = common.n
    of = "" if comparison.disclosures.unknown_patients else f" of {plural(n['patients'], 'patient')}"
    return [
        f"{_joined(names[1:])} against the baseline {names[0]}, on {write(comparison.on)}: "
        f"{plural(n['volumes'], 'common volume')}{of}{out}.",
        f"Difference in macro {_joined([metric_title(metric) for metric in macros])}, {_test_of(comparison)}.",
    ]


def marked_name(name: str, marks: Mapping[str, str]) -> str:
    """Return a model's name with its mark: ``linear 1 · not converged``."""
    return " · ".join(filter(None, [name, marks.get(name)]))


def _test_of(comparison: Comparison) -> str:
    if not comparison.differences["p"].notna().any():
        return "without a test: see the reasons in the table of all differences"
    unit = "volumes" if comparison.disclosures.unknown_patients else "patients"
    of_models = set(comparison.differences["question"] == MODELS)
    if "folds" in comparison.settings:
        unit = "folds"
    elif False in of_models:
        unit = f"seeds and {unit}" + (f", of one seed over {unit}" if True in of_models else "")
    return f"t test over {unit}; p (adjusted): Benjamini-Hochberg"


def _joined(texts: Sequence[str]) -> str:
    """Join texts as in a sentence: ``a, b and c``; of many the first three and how many more."""
    if len(texts) > _NAMED + 1:
        texts = [*texts[:_NAMED], f"{len(texts) - _NAMED} more"]
    return " and ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))


def question_sentences(comparison: Comparison) -> list[str]:
    """Say what the differences hold for: these trained models, or their recipes."""
    sentences = []
    averaged = max(comparison.settings["seeds"]) > 1  # some recipe has several seeds
    for question, rows in comparison.differences.groupby("question", sort=False):
        subject = "" if len(rows) == len(comparison.differences) else f"{', '.join(dict.fromkeys(rows['a']))}: "
        if question == MODELS and averaged:
            single = "the result is for these" if rows["a"].nunique() == 1 else "each result is for its"
            sentences.append(f"{subject}One seed compared: {single} two models only.")
        elif question == MODELS:
            sentences.append(f"{subject}The answer holds for these trained models, not for other seeds.")
        else:
            limit = " and training patients only: seeds share half of the patients or more"
            sentences.append(
                f"{subject}The answer holds for these recipes{limit if question == SAME_PATIENTS else ''}."
            )
    return sentences


def answer_sentences(questions: Collection[str]) -> list[str]:
    """Say what the answers of a table of several pairs hold for."""
    if not {RECIPES, SAME_PATIENTS} & {*questions}:
        return ["Holds for these trained models only."]
    if RECIPES not in questions:
        sentences = ["Holds for these recipes and training patients only: seeds share half of the patients or more."]
    elif SAME_PATIENTS in questions:
        sentences = [
            "Holds for these recipes; if seeds share half or more of their training patients, only for those patients."
        ]
    else:
        sentences = ["Holds for these recipes."]
    return [*sentences, "Where one seed is compared, for the two models only."] if MODELS in questions else sentences


def seed_texts(comparison: Comparison) -> dict[str, str]:
    """Say by model over which seeds its difference goes, and the two means beside it; nothing for single models."""
    if max(comparison.settings["seeds"]) == 1:
        return {}
    texts = {}
    for pair in comparison.pairs:
        common = _common_seeds(pair)
        counts = " and ".join(str(len(group.seeds)) for group in (pair.first, pair.second))
        texts[pair.first.name] = plural(common, "common seed") if common else f"{counts} seeds, none in common"
    return texts


def _common_seeds(pair: Pair) -> int:
    return len(_shared(pair))


def _shared(pair: Pair) -> list[str]:
    return [name for name in pair.first.seeds if name in pair.second.seeds]


def seed_sentences(comparison: Comparison) -> list[str]:
    """Say where differences use fewer seeds than a recipe has, and so differ from the means over all of its seeds."""
    named = fewer_seeds(comparison)
    return [f"Differences, and the two means beside each, are over common seeds ({named})."] if named else []


def fewer_seeds(comparison: Comparison) -> str:
    """List the pairs of recipes that have fewer seeds in common than one of them has; else empty."""
    shared = {
        pair.first.name: common
        for pair in comparison.pairs
        if 0 < len(common := _shared(pair)) < max(len(pair.first.seeds), len(pair.second.seeds))
    }
    baseline = comparison.common.names[0]
    return ", ".join(f"{name} and {baseline} have {_repeats_text(common)} in common" for name, common in shared.items())


def _repeats_text(names: Sequence[str]) -> str:
    """Write repeats by their seeds, where they differ in nothing else: ``seeds 1 to 3``; else their number."""
    return seeds_text(map(int, names)) if all(name.isdecimal() for name in names) else plural(len(names), "repeat")


def headline_rows(comparison: Comparison) -> pd.DataFrame:
    """Return the rows that sentences name: of each pair and metric the primary ones, else the macro mean with an interval."""
    every = comparison.differences
    chosen = []
    for _, rows in every.groupby(["a", "metric"], sort=False):
        macros = rows[rows["label"].isin(MACROS)]
        primary, tested = rows[rows["primary"]], macros[macros["p"].notna()]
        chosen.append(primary if len(primary) else tested if len(tested) else macros.head(1))
    return pd.concat(chosen)


def margin_sentences(comparison: Comparison) -> list[str]:
    """Say whether models are non-inferior or equivalent to the baseline, where there is a margin."""
    if "margin" not in comparison.differences:
        return []
    rows = headline_rows(comparison).dropna(subset=["margin"])
    return [_margin_sentence(row) for row in rows.to_dict("records")]


def _margin_sentence(row: dict) -> str:
    title = column_title(row["label"], row["metric"])
    head = f"{title[:1].upper()}{title[1:]}, margin {format_metric(row['margin'])} ({row['margin_origin']}): {row['a']}"
    if row["non_inferior"] is None and MARK_NEAR_END in row["mark"]:
        return f"{head} and {row['b']}: no answer, because with AUROCs near 1 such tests reject too often."
    if row["non_inferior"] is None:
        return f"{head} and {row['b']} have no interval, and no answer."
    results = ((row["non_inferior"], "non-inferior"), (row["equivalent"], "equivalent"))
    p_values = (row["p_non_inferior"], row["p_equivalent"])
    if not any(shown for shown, _ in results):
        neither = " nor ".join(f"{word} ({p_text(p)})" for (_, word), p in zip(results, p_values))
        return f"{head} is shown to be neither {neither} to {row['b']}."
    texts = [
        f"{'' if shown else 'not shown to be '}{word} ({p_text(p)})" for (shown, word), p in zip(results, p_values)
    ]
    return f"{head} is {' and '.join(texts)} to {row['b']}."


def p_text(p: float) -> str:
    """Write a p-value in a sentence: ``p = .012``, ``p < .001``."""
    text = format_p(p)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def detectable_sentences(comparison: Comparison) -> list[str]:
    """Say which differences this set of volumes shows with 80 % power, where there is an interval."""
    rows = headline_rows(comparison).dropna(subset=["detectable"])
    parts = []
    for (metric, label), part in rows.groupby(["metric", "label"], sort=False):
        values = [format_metric(value) for value in part["detectable"]]
        named = [f"{value} ({name})" for name, value in zip(part["a"], values)] if len(part) > 1 else values
        parts.append(f"{column_title(label, metric)} {', '.join(named)}")
    if not parts:
        return []
    return [
        "Differences that an unadjusted two-sided test at .05 finds with 80 % power, if errors are those estimated: "
        f"{'; '.join(parts)}."
    ]


def primary_sentences(comparison: Comparison) -> list[str]:
    """Say which results are primary and that all others are exploratory; nothing on validation."""
    primary = comparison.primary
    if comparison.on == VALIDATION:
        return []
    if primary is not None and primary.holds:
        return [
            f"Primary analysis, declared before the test set was evaluated: {primary.title}. All other results are "
            "exploratory."
        ]
    if primary is not None and primary.metric:
        return [f"A primary analysis ({primary.title}) does not count: {primary.problem}. All results are exploratory."]
    return ["No primary analysis was declared before the test set was evaluated: all results are exploratory."]


def best_sentences(comparison: Comparison) -> list[str]:
    """Name the models that beat all others, and say that their metrics are optimistic on a test set that chose them."""
    names = comparison.common.names
    best = {metric: names[one.index] for metric, one in comparison.best.items() if one.marked and one.index is not None}
    sentences = [f"Best macro {metric_title(metric)} against all others: {name}." for metric, name in best.items()]
    if best and comparison.on != VALIDATION:
        sentences.append(
            f"The best of {len(names)} was chosen on this test set, so that its metrics are optimistic: confirm it on "
            "other data."
        )
    return sentences


def eligible_sentence(eligible: list[str], total: int) -> str:
    """List the findings that have intervals, where some have none; else empty."""
    if len(eligible) == total:
        return ""
    return f"Eligible for intervals ({len(eligible)} of {total} findings): {', '.join(eligible) or 'none'}."


def comparison_notes(comparison: Comparison) -> list[str]:
    """Return what a reader of the table of differences needs to know beside it.

    Of two models the table itself says which is better.
    """
    eligible = eligible_sentence(comparison.eligible, len(comparison.common.labels))
    return [
        *question_sentences(comparison),
        *seed_sentences(comparison),
        *margin_sentences(comparison),
        *detectable_sentences(comparison),
        *([eligible] if eligible else []),
        *(best_sentences(comparison) if len(comparison.common.names) > 2 else []),
        *primary_sentences(comparison),
    ]
