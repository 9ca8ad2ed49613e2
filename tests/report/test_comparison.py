"""The paper files of a comparison: table, LaTeX and Methods of models and of recipes."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctbench_core.compare import Comparison, ModelScores, compare_models
from ctbench_core.compare.recipes import compare_scored_recipes
from ctbench_core.report import lead_sentences
from ctbench_core.report.comparison import latex_table, methods_paragraph, paper_frame
from tests.model_scores import model_scores, recipe_scores


@pytest.fixture(scope="module")
def comparison() -> Any:
    models = [model_scores("base · 1", 0.5), model_scores("better", 2.5, seed=1), model_scores("same", 0.5, seed=0)]
    return compare_models(models, "test").with_swaps(199)


@pytest.fixture(scope="module")
def recipes() -> Comparison:
    recipes = {
        "weak": recipe_scores("weak", 0.3, 3),
        "strong": recipe_scores("strong", 2.0, 4),
        "single": recipe_scores("single", 0.3, 1),
    }
    return compare_scored_recipes(recipes, "test")


def test_numbers_of_the_latex_table_are_those_of_the_csv(comparison: Any) -> None:
    frame, text = paper_frame(comparison), latex_table(comparison)
    printed = []
    for line in text.splitlines():
        if " & " in line and "[" in line:
            printed += [float(number) for number in re.findall(r"(?<![\d\w])\d?\.\d{3}", line)]
    stored = frame[[c for c in frame if c.endswith((" value", " lo", " hi"))]].to_numpy()
    assert printed == stored[~np.isnan(stored)].tolist()
    assert text.count("dagger") - 1 == sum((frame[c] < 0.05).sum() for c in frame if c.endswith("p_adjusted"))


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_the_latex_compiles(comparison: Any, tmp_path: Path) -> None:
    body = (
        "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n"
        + latex_table(comparison)
        + "\\end{document}"
    )
    (tmp_path / "table.tex").write_text(body, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-2000:]
    assert (tmp_path / "table.pdf").stat().st_size > 0


def test_methods_say_what_was_done(comparison: Any) -> None:
    text = methods_paragraph(comparison)
    for part in (
        "240 volumes",
        "120 patients",
        "leaving out one patient at a time",
        "199 random",
        "over the 12 tests",
        "base · 1",
    ):
        assert part in text
    assert "trained on frozen" not in text  # no run, no training to tell of
    assert "excluded" not in text


def test_the_paper_table_of_recipes_has_means_with_sd(recipes: Comparison) -> None:
    frame, text = paper_frame(recipes), latex_table(recipes)
    assert {"strong sd", "weak sd"} <= set(frame)
    assert "single sd" not in frame
    lines = [line for line in text.splitlines() if " & " in line and "[" in line]
    printed = [float(n) for line in lines for n in re.findall(r"(?<![\d\w])\d?\.\d{3}", line)]
    stored = frame[[c for c in frame if c.endswith((" value", " sd", " lo", " hi"))]].to_numpy()
    assert printed == stored[~np.isnan(stored)].tolist()
    text_of_methods = methods_paragraph(recipes)
    for part in (
        "means over seeds (weak: 3, strong: 4, single: 1)",
        "two-sided p-values are of the same t",
        "over the 12 tests",
    ):
        assert part in text_of_methods
    assert "exchanges" not in text_of_methods


def test_two_seeds_are_printed_with_their_range() -> None:
    recipes = {"two": recipe_scores("two", 0.5, 2), "strong": recipe_scores("strong", 2.0, 3)}
    one = compare_scored_recipes(recipes, "test")
    frame, text = paper_frame(one), latex_table(one)
    assert {"two range_lo", "two range_hi", "strong sd", "strong lo"} <= set(frame)
    assert not {"two lo", "two sd", "strong range_lo"} & set(frame)
    row = frame.iloc[0]
    numbers = [f"{row[f'two {part}']:.3f}".removeprefix("0") for part in ("value", "range_lo", "range_hi")]
    assert "{} ({} to {})".format(*numbers) in text
    assert "Of two seeds the mean and the range." in text
    assert "dagger" not in text  # two seeds have no p


def test_the_lead_says_what_is_compared_on_what_and_how(comparison: Any, recipes: Comparison) -> None:
    n = comparison.common.n
    assert lead_sentences(comparison, lambda name: f"*{name}*") == [
        f"*better* and *same* against the baseline *base · 1*, on *test*: {n['volumes']} common volumes of "
        f"{n['patients']} patients.",
        "Difference in macro AUPRC and AUROC, t test over patients; p (adjusted): Benjamini-Hochberg.",
    ]
    assert "t test over seeds and patients, of one seed over patients;" in lead_sentences(recipes)[1]
    several = compare_scored_recipes({name: recipe_scores(name, 1.0, 3) for name in ("a", "b")}, "test")
    assert "t test over seeds and patients;" in lead_sentences(several)[1]
    one = compare_scored_recipes({"a": recipe_scores("a", 1.0, 3), "b": recipe_scores("b", 2.0, 1)}, "test")
    assert "t test over patients;" in lead_sentences(one)[1]  # one seed in common


def test_the_lead_counts_the_volumes_that_some_models_lack() -> None:
    names = ("base", "a", "b", "c", "d", "e")
    models = [model_scores(name, 1.0, seed=seed) for seed, name in enumerate(names)]
    models[1] = ModelScores("a", models[1].frame.iloc[:119])
    one = compare_models(models, "test")
    assert lead_sentences(one)[0] == (
        "a, b, c and 2 more against the baseline base, on test: 119 common volumes of "
        f"{one.common.n['patients']} patients; 121 others not in every run."
    )
