"""The Compare page: its differences are those of `compare`, and it says what is missing where nothing can be compared."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from ctbench_core.compare import compare_runs
from ctbench_core.config import Config
from ctbench_core.evaluate import ScoreOptions, score_table
from ctbench_core.formatting import UNDEFINED, format_interval, format_metric
from ctbench_core.report import mark_text
from ctbench_ui.compare import results, tabs
from ctbench_ui.shared import as_text, run_picker

Open = Callable[..., AppTest]
Said = Callable[[AppTest], str]
FINDINGS = ("Emphysema", "Nodule", "Hernia")


def _scored(
    store: Path, folder: Path, name: str, strength: float, seed: int, rows: slice = slice(None), batch: int = 64
) -> Path:
    """Store predictions of 80 patients, or some, as a run; a stronger model sets its positives further apart."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"VolumeName": [f"test_{p}_a_1" for p in range(1, 81)]})
    for label, every in zip(FINDINGS, (2, 3, 20)):
        frame[f"target_{label}"] = (np.arange(80) % every == 0).astype(int)
        frame[f"prob_{label}"] = (rng.random(80) * (1 - strength) + frame[f"target_{label}"] * strength).round(3)
    (folder / name).mkdir()
    table = folder / name / "test.parquet"  # a set goes by its file's name
    frame.iloc[rows].to_parquet(table)
    config = Config()
    config.paths.outputs_root, config.job_name = str(store), name
    config.training.batch_size = batch
    return Path(score_table(table, ScoreOptions(name=name), config)["run_dir"])


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a store of two scored runs beside their predictions; read only."""
    folder = tmp_path_factory.mktemp("two")
    for seed, (name, strength) in enumerate({"weak": 0.1, "strong": 0.4}.items()):
        _scored(folder / "outputs", folder, name, strength, seed)
    return folder


@pytest.fixture
def two(written: Path, store: Path, tmp_path: Path, copy_store: Callable[[Path, Path], Path]) -> dict[str, Path]:
    """Copy two scored runs into the store, and their predictions; return their directories by name."""
    copy_store(written / "outputs", store)
    for name in ("weak", "strong"):
        shutil.copytree(written / name, tmp_path / name)
    return {name: next(store.glob(f"{name}/*/status.json")).parent for name in ("weak", "strong")}


def _opened(open_page: Open, two: dict[str, Path], tab: str) -> AppTest:
    fields = {"compare.baseline": two["weak"].name, "compare.others": [two["strong"].name]}
    app = open_page("compare", fields, {"compare-tabs": tab.lower()})
    app.run()
    assert not app.info, [part.value for part in app.info]
    assert not app.exception
    assert not app.error
    return app


def test_of_many_runs_the_newest_are_offered_and_words_find_others(
    two: dict[str, Path], open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_picker, "OFFERED", 1)
    app = open_page("evaluate", query={"run": two["strong"].name})
    assert app.selectbox(key="run").options == ["strong · predictions"]
    app.text_input(key="run.find").set_value(f"WEAK {two['weak'].name[-6:]}").run()
    assert not app.exception
    assert app.selectbox(key="run").options == ["strong · predictions", "weak · predictions"]
    assert app.selectbox(key="run").value == two["strong"].name
    app = open_page("compare", query={"runs": f"{two['weak'].name},{two['strong'].name}"})
    assert not app.exception
    assert app.multiselect(key="compare.others").value == [two["strong"].name]


def test_an_empty_choice_stays_empty_and_offers_another_run(two: dict[str, Path], open_page: Open, said: Said) -> None:
    app = _opened(open_page, two, "Differences")
    app.multiselect(key="compare.others").set_value([]).run()
    for _ in range(2):  # it stays so
        assert not app.exception
        assert (app.multiselect(key="compare.others").value, app.dataframe) == ([], [])
        assert "".join(app.query_params["runs"]) == two["weak"].name
        assert "No other run is chosen" in said(app)
        app.run()
    app = open_page("compare", query={"runs": two["weak"].name})  # the address alone
    assert app.multiselect(key="compare.others").value == []
    app.button(key="compare-choose").click().run()
    assert app.multiselect(key="compare.others").value == [two["strong"].name]
    assert "".join(app.query_params["runs"]).split(",") == [two["weak"].name, two["strong"].name]
    assert app.dataframe and "No other run" not in said(app)


def test_without_runs_the_page_says_what_it_needs(open_page: Open, said: Said) -> None:
    app = open_page("compare")
    assert not app.exception
    assert "Nothing to compare yet" in said(app)
    assert app.button(key="empty-evaluate").label == "Evaluate a run"


def test_one_run_is_not_compared(store: Path, tmp_path: Path, open_page: Open, said: Said) -> None:
    _scored(store, tmp_path, "alone", 0.2, 5)
    app = open_page("compare")
    assert not app.exception
    assert "Nothing to compare yet" in said(app)


def test_the_difference_is_first_and_runs_are_named_where_there_are_several(
    two: dict[str, Path], store: Path, tmp_path: Path, open_page: Open
) -> None:
    table = _opened(open_page, two, "Differences").dataframe[0].value
    assert list(table)[:7] == ["Metric", "Difference", "95 % CI", "p (adjusted)", "p", "Baseline", "Other"]
    numbers = ["Difference", "p (adjusted)", "p", "Baseline", "Other"]  # a click on a heading sorts by them
    assert list(table[numbers].select_dtypes("float")) == numbers
    third = _scored(store, tmp_path, "third", 0.3, 7)
    app = open_page("compare", query={"runs": ",".join(one.name for one in (*two.values(), third))})
    table = app.dataframe[0].value
    assert list(table)[:4] == ["Other run", "Metric", "Difference", "95 % CI"]
    assert list(dict.fromkeys(table["Other run"])) == ["strong", "third"]


@pytest.mark.parametrize(("metric", "title"), [("auprc", "AUPRC"), ("auroc", "AUROC")])
def test_the_differences_are_those_of_compare(two: dict[str, Path], open_page: Open, metric: str, title: str) -> None:
    app = _opened(open_page, two, "Differences")
    app.session_state["compare-metric"] = metric
    app.run()
    assert not app.exception
    expected = compare_runs([two["weak"], two["strong"]]).differences
    expected = expected[expected["metric"] == metric].rename(columns={"label": "finding"})
    macro, table = (part.value for part in app.dataframe)
    expected["reason"] = expected["reason"].where(
        expected["reason"] != "", expected["mark"].map(mark_text)
    )  # one column of notes
    shown = ["finding", "delta", "b_value", "a_value", "p", "p_adjusted", "detectable", "reason"]
    pd.testing.assert_frame_equal(
        table[shown].reset_index(drop=True), expected[shown].reset_index(drop=True), check_dtype=False
    )
    bounds = expected[["lo", "hi"]].to_numpy().tolist()
    assert list(table["ci"]) == [format_interval(None, pair).removeprefix("– ") for pair in bounds]
    assert set(table["finding"]) == {"macro", "macro_eligible", *FINDINGS}  # Hernia is in 4 patients only
    for over, name in (("all findings", "macro"), ("2 eligible", "macro_eligible")):
        row = macro[(macro["Metric"] == title) & (macro["Mean over"] == over)].iloc[0]
        whole = expected[expected["finding"] == name].iloc[0]
        shown = f"{format_metric(row['Difference'])} {row['95 % CI']}".strip()
        assert shown == format_interval(whole.delta, [whole.lo, whole.hi])
        assert (row["p"], row["p (adjusted)"]) == pytest.approx((whole.p, whole.p_adjusted), nan_ok=True)
        assert whole.delta > 0
        assert (row["Baseline"], row["Other"]) == (whole.b_value, whole.a_value)
        assert row["Other"] - row["Baseline"] == pytest.approx(whole.delta)
    assert "[" in row["95 % CI"]


def test_a_margin_is_answered_as_a_sentence_and_columns(two: dict[str, Path], open_page: Open, said: Said) -> None:
    app = _opened(open_page, two, "Differences")
    assert "Equivalent" not in app.dataframe[0].value
    assert "margin" not in said(app)
    app.number_input(key="compare-margin").set_value(0.05).run()
    assert not app.exception and not app.error
    expected = compare_runs([two["weak"], two["strong"]]).with_margin(0.05).differences
    answer = expected.set_index(["metric", "label"]).loc["auprc", "macro_eligible"]
    assert answer["non_inferior"] and not answer["equivalent"]
    macro = app.dataframe[0].value
    row = macro[(macro["Metric"] == "AUPRC") & (macro["Mean over"] == "2 eligible")].iloc[0]
    assert (row["Non-inferior"][:3], row["Equivalent"][:9]) == ("yes", "not shown")
    assert "margin .050 (post hoc)" in said(app)
    assert "80 % power" in said(app)


def test_the_rank_swap_test_runs_when_it_is_switched_on(two: dict[str, Path], open_page: Open) -> None:
    app = _opened(open_page, two, "Differences")
    app.session_state["compare-metric"] = "auroc"
    app.run()
    assert "p_swap" not in app.dataframe[1].value
    app.toggle(key="compare-swaps").set_value(True).run()
    assert not app.exception and not app.error
    table = app.dataframe[1].value.set_index("finding")
    assert 0 < table.loc["Emphysema", "p_swap"] <= 1


@pytest.mark.parametrize(
    ("tab", "kind"),
    [
        ("Curves", "plotly_chart"),
        ("Disagreements", "plotly_chart"),
        ("Settings", "caption"),
        ("Label noise", "text_input"),
        ("Published", "dataframe"),
        ("Paper", "code"),
    ],
)
def test_every_tab_draws(two: dict[str, Path], open_page: Open, tab: str, kind: str) -> None:
    app = _opened(open_page, two, tab)
    assert len(app.dataframe if kind == "dataframe" else app.main.get(kind))


@pytest.mark.parametrize("tab", ["Curves", "Disagreements", "Settings", "Label noise"])
def test_a_tab_without_statistics_does_not_wait_for_them(
    two: dict[str, Path], open_page: Open, said: Said, monkeypatch: pytest.MonkeyPatch, tab: str
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("computed")

    monkeypatch.setattr(results, "compare", refuse)
    app = _opened(open_page, two, tab)
    assert "80 volumes" in said(app)


def test_a_margin_in_the_address_is_answered_in_every_tab(
    two: dict[str, Path], open_page: Open, taken: Callable[[], dict[str, bytes]]
) -> None:
    fields = {"compare.baseline": two["weak"].name, "compare.others": [two["strong"].name]}
    app = open_page("compare", fields, {"compare-margin": "0.05", "compare-tabs": "paper"})
    assert b"margin .050" in taken()["paper-results.txt"]
    app.session_state["compare-tabs"] = "Differences"
    app.run()
    assert app.number_input(key="compare-margin").value == 0.05
    assert "Equivalent" in app.dataframe[0].value


def test_disagreements_list_the_volumes_furthest_apart(two: dict[str, Path], open_page: Open) -> None:
    app = _opened(open_page, two, "Disagreements")
    shown = app.dataframe[0].value
    weak, strong = (pd.read_parquet(two[name].parents[2] / name / "test.parquet") for name in two)
    apart = (weak["prob_Emphysema"] - strong["prob_Emphysema"]).abs()
    assert shown["apart"].is_monotonic_decreasing
    assert shown["apart"].iloc[0] == pytest.approx(apart.max(), abs=1e-6)
    headings = json.loads(app.dataframe[0].proto.columns)
    assert [headings[name]["label"] for name in ("first", "second")] == ["Baseline", "Other"]
    assert [headings[name]["help"] for name in ("first", "second")] == ["weak", "strong"]
    assert list(app.dataframe[0].proto.column_order) == ["volume", "label", "apart", "first", "second"]
    assert shown["volume"].iloc[0] == weak["VolumeName"][apart.idxmax()]


def test_the_other_run_is_chosen_where_there_are_several(
    two: dict[str, Path], store: Path, tmp_path: Path, open_page: Open
) -> None:
    app = _opened(open_page, two, "Disagreements")
    assert "Other run" not in [field.label for field in app.selectbox]
    third = _scored(store, tmp_path, "third", 0.3, 2)
    fields = {"compare.baseline": two["weak"].name, "compare.others": [two["strong"].name, third.name]}
    app = open_page("compare", fields, {"compare-tabs": "disagreements"})
    assert app.selectbox(key="compare-scatter-other").options == ["strong", "third"]


def test_settings_that_differ_have_the_titles_of_the_form(
    two: dict[str, Path], store: Path, tmp_path: Path, open_page: Open, said: Said
) -> None:
    other = _scored(store, tmp_path, "other", 0.4, 1, batch=32)
    app = _opened(open_page, two | {"strong": other}, "Settings")
    shown = app.table[0].value
    assert list(shown) == ["Setting", "weak", "other"]
    ((title, *values),) = shown.to_numpy().tolist()
    assert title.startswith("Batch size  \n") and as_text("training.batch_size") in title
    assert values == ["64", "32"]
    assert "left out" in said(app) and "–: without effect" not in said(app)  # there is no dash to explain


@pytest.mark.parametrize("effect", ["0.1", UNDEFINED])
def test_a_dash_among_the_settings_is_explained(effect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    captions: list[str] = []
    monkeypatch.setattr("streamlit.caption", captions.append)
    monkeypatch.setattr("streamlit.table", lambda *arguments, **options: None)
    frame = pd.DataFrame({"setting": ["training.loss.gamma"], "weak": ["2"], "strong": [effect]})
    tabs.settings({"settings": frame})
    assert captions[0].startswith("–: without effect on that run. ") == (effect == UNDEFINED)


def test_curves_and_metrics_of_runs_have_their_names(two: dict[str, Path], open_page: Open, said: Said) -> None:
    text = said(_opened(open_page, two, "Curves"))
    assert "**Precision-recall**" in text and "**Receiver operating characteristic**" in text


def test_published_results_stand_apart_from_what_was_measured_here(
    two: dict[str, Path], open_page: Open, said: Said
) -> None:
    app = _opened(open_page, two, "Published")
    text = said(app)
    assert "measured here: macro AUROC on **test**, 80 volumes, 3 findings" in text
    assert "none was measured here" in text and "No difference from a published result is tested" in text
    own, other, sources = (part.value for part in app.dataframe)
    metrics = compare_runs([two["weak"], two["strong"]]).metrics
    rows = metrics[(metrics["finding"] == "macro") & (metrics["metric"] == "auroc")]
    assert list(own["Run"]) == ["weak", "strong"]
    assert [value.partition(" ")[0] for value in own.iloc[:, 1]] == [format_metric(value) for value in rows["value"]]
    assert other["why"].str.contains("ours 80").all()
    headings = [json.loads(part.proto.columns) for part in app.dataframe[1:]]
    assert [headings[0][name]["label"] for name in ("value", "why")] == ["Macro AUROC", "What differs from these runs"]
    assert headings[1]["n"]["label"] == "Test volumes" and len(sources) == len(other)
    for part, columns in zip(app.dataframe[1:], headings):  # texts are wrapped, and all columns have room on a page
        assert part.proto.row_height > 64 and sum(column.get("width", 0) for column in columns.values()) < 980


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (
            ("head · of one study with labels · seed 1", "head · of one study with labels · seed 2"),
            ("seed 1", "seed 2"),
        ),
        (("linear · seed 1", "zscore · linear · seed 2"), ("linear · seed 1", "zscore · linear · seed 2")),
    ],
)
def test_a_legend_of_curves_has_whole_names_or_what_differs_where_a_phone_would_cut_them(
    store: Path, tmp_path: Path, open_page: Open, names: tuple[str, str], shown: tuple[str, str]
) -> None:
    runs = {key: _scored(store, tmp_path, name, 0.3, 1) for key, name in zip(("weak", "strong"), names)}
    app = _opened(open_page, runs, "Curves")
    for chart in app.get("plotly_chart"):
        assert tuple(line["name"] for line in json.loads(chart.proto.spec)["data"]) == shown


def test_where_the_numbers_come_from_is_said_once_a_page(two: dict[str, Path], open_page: Open, said: Said) -> None:
    for tab in ("Differences", "Curves", "Disagreements"):
        app = _opened(open_page, two, tab)
        assert said(app).count("label origin: unknown") == 1, tab
        for chart in app.get("plotly_chart"):
            layout = json.loads(chart.proto.spec)["layout"]
            assert "title" not in layout, tab
            assert "label origin: unknown" in layout["meta"]["picture"]["title"]["text"], tab


def test_label_noise_scores_a_run_against_other_labels(
    two: dict[str, Path], open_page: Open, tmp_path: Path, said: Said
) -> None:
    labels = pd.read_parquet(tmp_path / "weak" / "test.parquet").filter(regex="VolumeName|target_")
    labels.columns = [name.removeprefix("target_") for name in labels]
    labels.to_csv(tmp_path / "other.csv", index=False)
    app = _opened(open_page, two, "Label noise")
    app.text_input(key="compare-labels-path").set_value(str(tmp_path / "other.csv")).run()
    assert not app.exception and not app.error
    assert len(app.dataframe) == 1
    app.text_input(key="compare-labels-path").set_value(str(tmp_path / "absent.csv")).run()
    assert not app.exception
    assert "absent.csv" in said(app)


def test_the_page_begins_with_what_is_compared(two: dict[str, Path], open_page: Open, said: Said) -> None:
    app = _opened(open_page, two, "Differences")
    first, *_ = [part.value for part in app.markdown if "baseline" in part.value]
    assert first == "**strong** against the baseline **weak**, on **test**: 80 common volumes of 80 patients."
    assert said(app).count("against the baseline") == 1


def test_few_common_volumes_and_an_undefined_finding_are_said(
    store: Path, tmp_path: Path, open_page: Open, said: Said
) -> None:
    weak = _scored(store, tmp_path, "weak", 0.1, 0)
    few = _scored(store, tmp_path, "few", 0.4, 1, slice(1, 40))
    app = _opened(open_page, {"weak": weak, "strong": few}, "Differences")
    assert "39 common volumes of 39 patients; 41 others not in every run." in said(app)
    assert "only 39 of 80 volumes are in all of them" in app.warning[0].value
    none = _scored(store, tmp_path, "none", 0.4, 2, slice(1, 20))
    app = _opened(open_page, {"weak": weak, "strong": none}, "Differences")
    assert set(app.dataframe[0].value["Mean over"]) == {"2 of 3 findings"}


def test_a_run_that_is_deleted_while_it_is_compared_is_said(
    open_page: Open, two: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = run_picker.redraw_if_deleted

    def delete(run_dirs: list[str]) -> None:
        drawn(run_dirs)
        shutil.rmtree(two["strong"] / "evaluation")  # a moment later: the folder goes file by file

    monkeypatch.setattr(run_picker, "redraw_if_deleted", delete)
    app = open_page("compare", {"compare.baseline": two["weak"].name, "compare.others": [two["strong"].name]})
    assert not app.exception
    (error,) = app.error
    assert "Not every run has scores on test" in error.value
