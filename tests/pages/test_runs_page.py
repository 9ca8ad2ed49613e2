"""The Runs page: filters, recipes, stars and notes, delete with undo, the queue, and the exported files."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from ctbench_core import query
from ctbench_core.compare import differing_parts
from ctbench_core.config import Config, set_keys
from ctbench_core.evaluate import evaluate_on_validation, evaluate_run
from ctbench_core.experiment import run_experiment
from ctbench_core.formatting import format_metric
from ctbench_core.jobs import get_runner
from ctbench_core.runs import (
    SCORES_ONLY,
    Run,
    RunPaths,
    RunStore,
    Status,
    annotate,
    delete_run,
    new_status,
    open_run,
    run_fields,
    write_status,
)
from ctbench_ui.runs import bulk, filters, recipes
from ctbench_ui.shared import cache, run_table

Open = Callable[..., AppTest]
LONG = {"training.max_epochs": 100_000, "training.early_stopping_patience": 100_000}


@pytest.fixture
def trained(train_once: Callable[..., list[Path]]) -> list[Path]:
    """Train one recipe with seeds 0, 1, 2 and another with seed 0."""
    return train_once([*({"utils.seed": seed} for seed in range(3)), {"utils.seed": 0, "training.learning_rate": 1e-2}])


def rows(store: Path) -> pd.DataFrame:
    return pd.DataFrame(cache.run_rows(str(store)))


def auprc(folder: Path) -> float:
    return open_run(folder).best()["val_metrics"]["auprc"]


def test_the_table_shows_the_best_epoch_and_ranks_by_validation(trained: list[Path], open_page: Open) -> None:
    app = open_page("runs")
    assert not app.exception
    table = app.dataframe[0].value
    values = sorted((auprc(folder) for folder in trained), reverse=True)
    assert list(table["auprc"]) == [format_metric(value) for value in values]
    best = {open_run(folder).best()["epoch"] for folder in trained}
    assert set(table["best"]) == best
    assert "test" not in table
    assert all(len(trace) == 3 for trace in table["trace"])


def test_the_trace_is_the_stored_curve(trained: list[Path]) -> None:
    run = open_run(trained[0])
    assert cache.trace(run) == [line["val_metrics"]["auprc"] for line in run.history()]


def test_an_undefined_epoch_is_a_gap_in_the_trace(tmp_path: Path) -> None:
    run = Run(RunPaths(tmp_path), Status(state="finished", epoch=2), Config())
    run.paths.metrics.write_text(
        '{"epoch": 1, "val_metrics": {"auprc": null}}\n{"epoch": 2, "val_metrics": {"auprc": 1e-05}}\n'
    )
    assert cache.trace(run) == [None, 1e-05]


@pytest.fixture
def stopped_early(store: Path, make_config: Callable[..., Config], tiny_data: Path) -> Path:
    """Train a linear probe that its 30 validation patients show far from its optimum."""
    swapped = {"data.train_manifest": "valid.csv", "data.val_manifest": "train.csv"}
    slow = {"model._target_": "linear", "training.learning_rate": 1e-5, "training.weight_decay": 1e-3}
    return Path(run_experiment(make_config(tiny_data, {**swapped, **slow}))["run_dir"])


def test_a_probe_that_has_not_converged_is_marked_and_its_optimum_is_offered(
    stopped_early: Path, store: Path, open_page: Open, said: Callable[[AppTest], str]
) -> None:
    assert list(open_page("runs").dataframe[0].value["convergence"]) == ["not converged"]
    app = open_page("runs", {"runs.chosen": [stopped_early.name]})
    assert not app.exception
    (warning,) = [one.value for one in app.warning if "Not converged" in one.value]
    assert "use model=logistic" in warning
    assert list(recipes.table(rows(store))["convergence"]) == ["1 of 1 not converged"]
    assert list(run_table.export_frame(rows(store))["convergence"]) == ["not converged"]
    app.button(key="card-optimum").click().run()
    state = app.session_state  # AppTest has no get
    pending = state["form.pending"] if "form.pending" in state else state  # noqa: SIM401
    assert pending["model._target_"] == "logistic"
    assert pending["data.train_manifest"] == "valid.csv"


def test_runs_that_have_converged_or_have_no_optimum_show_no_mark(trained: list[Path], open_page: Open) -> None:
    app = open_page("runs", {"runs.chosen": [trained[0].name]})
    assert "convergence" not in app.dataframe[0].value
    assert "card-optimum" not in {button.key for button in app.button}


def test_test_results_are_shown_only_where_there_are_any(trained: list[Path], open_page: Open) -> None:
    result = evaluate_run(trained[1], ["test.csv"])["test"]["test.csv"]
    app = open_page("runs")
    table = app.dataframe[0].value
    shown = [text for text in table["test"] if text]
    assert len(shown) == 1
    assert shown[0].startswith(f"{result['auprc']:.3f}".replace("0.", "."))


def test_the_curves_of_a_card_are_the_stored_epochs(trained: list[Path], open_page: Open) -> None:
    app = open_page("runs", {"runs.chosen": [trained[0].name], "card-tabs": "Curves", "card-smoothing": 0.5})
    assert not app.exception
    sent = json.loads(app.get("bidi_component")[-1].proto.json)
    run = open_run(trained[0])
    assert (sent["along"], sent["best"]) == ([1, 2, 3], run.best()["epoch"])
    line = sent["panels"][1]["lines"][0]
    stored = [entry["val_metrics"]["auprc"] for entry in run.history()]
    assert line["raw"] == pytest.approx(stored, rel=1e-4)
    assert line["values"][1] == pytest.approx((0.5 * stored[0] + stored[1]) / 1.5, rel=1e-4)
    assert line["values"] == pytest.approx(pd.Series(stored).ewm(alpha=0.5).mean().tolist(), rel=1e-4)


def test_a_test_figure_carries_its_interval_and_its_leak(trained: list[Path], store: Path) -> None:
    frame = rows(store).head(3)
    frame["tests"] = [{"test": 0.84249}, {"a": 0.5, "b": None}, {}]
    frame["test_intervals"] = [{"test": [0.829, 0.8561]}, {"a": [None, None]}, {}]
    frame["test_no_interval"] = [{}, {"a": "2 of 3 findings have too few patients", "b": SCORES_ONLY}, {}]
    frame["leaks"] = [{"test": 0}, {"a": 3, "b": 0}, {}]
    frame["stale"] = [["test"], [], []]
    assert list(run_table.table_of(run_table.best_first(frame))["test"]) == [
        ".842 [.829, .856] ⟳",
        "a .500 (no CI) ⚠ · b –",
        "",
    ]


def test_a_run_of_which_only_scores_are_stored_says_so_in_the_table_and_on_its_card(
    trained: list[Path], store: Path, open_page: Open, said: Callable[[AppTest], str]
) -> None:
    evaluate_run(trained[0], ["test.csv"])
    file = open_run(trained[0]).paths.evaluation("test").metrics
    content = json.loads(file.read_text(encoding="utf-8"))
    bare = {name: value for name, value in content.items() if not name.endswith("_ci") and name != "macro_no_interval"}
    bare["per_class"] = {
        finding: {name: value for name, value in values.items() if not name.endswith("_ci")}
        for finding, values in content["per_class"].items()
    }
    file.write_text(json.dumps(bare | {"detail": "scores"}), encoding="utf-8")
    app = open_page("runs", {"runs.chosen": [trained[0].name]})
    value = format_metric(content["auprc"])
    assert [text for text in app.dataframe[0].value["test"] if text] == [f"{value} (no interval yet)"]
    assert "No interval: only scores are stored." in said(app)
    assert "test_no_interval" not in run_table.export_frame(rows(store))


def test_the_column_of_stars_keeps_its_width_in_a_wide_table() -> None:
    assert run_table.COLUMNS["star"]["pinned"] and run_table.COLUMNS["star"]["width"] < 40


def test_what_a_run_reached_comes_before_what_it_was_set_to(trained: list[Path], open_page: Open) -> None:
    evaluate_run(trained[0], ["test.csv"])
    shown = [name for name in open_page("runs").dataframe[0].value if name != "star"]
    assert shown[:4] == ["auprc", "name", "test", "trace"]
    assert not [title for title in run_table.column_titles().values() if title == "N"]


def test_what_orders_the_runs_is_whole_in_a_window_of_1280_pixels() -> None:
    names = list(run_table.COLUMNS)
    assert names.index("head") + 1 == names.index("set") < names.index("study")
    texts = {"name": "budget 60 · mlp 128 · seed 3", "set": "valid.csv, budget 60, seed 3", "study": "label-budget"}
    widths = {name: run_table.width_of([text]) for name, text in texts.items()}
    assert widths["name"] >= 176  # measured, with its padding
    others = 33 + 28 + 81 + 137 + 76 + 90 + 70  # boxes, star, AUPRC, test, trend, state and head
    assert others + sum(widths.values()) <= 984
    assert run_table.width_of(["a" * 200]) < 300


def test_actions_come_above_the_table_in_the_place_of_the_count(trained: list[Path], open_page: Open) -> None:
    def places(app: AppTest) -> tuple[int, int]:
        blocks = list(app.main.children.values())
        bar = next(
            at for at, one in enumerate(blocks) if "runs.all" in [box.key for box in getattr(one, "checkbox", ())]
        )
        return bar, next(at for at, one in enumerate(blocks) if getattr(one, "dataframe", ()))

    app = open_page("runs")
    before = places(app)
    assert before[0] < before[1]
    app.checkbox(key="runs.all").check().run()
    assert not app.exception
    assert places(app) == before
    bar = app.main.children[before[0]]
    keys = [button.key for button in bar.button]
    assert {"compare-selected", "bulk-star", "bulk-delete"} <= set(keys)
    assert "4 selected" in " ".join(text.value for text in bar.markdown)


def test_the_table_shows_the_number_of_training_volumes(trained: list[Path], open_page: Open, tiny_data: Path) -> None:
    learned = len(pd.read_csv(tiny_data / "manifests" / "train.csv"))
    assert set(open_page("runs").dataframe[0].value["volumes"]) == {learned}


def test_a_test_result_of_an_earlier_epoch_is_marked(
    trained: list[Path], store: Path, open_page: Open, said: Callable[[AppTest], str]
) -> None:
    for folder in trained[:2]:
        evaluate_run(folder, ["test.csv"])
    assert not any(rows(store)["stale"])
    best = open_run(trained[0]).paths.best_metrics
    changed = json.loads(best.read_text(encoding="utf-8"))
    best.write_text(json.dumps(changed | {"epoch": changed["epoch"] + 40}), encoding="utf-8")
    marked = open_page("runs").dataframe[0].value["test"]
    assert [text.endswith("⟳") for text in marked if text].count(True) == 1
    recipe = open_page("runs", {"runs.view": "By recipe"}).dataframe[0].value["test"]
    assert [text.endswith("(2 seeds) ⟳") for text in recipe if text] == [True]
    text = said(open_page("compare"))
    assert "Trained further since the evaluation on test" in text
    assert trained[0].name in text.partition("Trained further")[2]


def test_by_budget_has_no_order_or_columns_to_choose(trained: list[Path], open_page: Open) -> None:
    order = [box.key for box in open_page("runs").selectbox]
    assert "runs.order" in order
    app = open_page("runs", {"runs.view": "By budget"})
    assert not app.exception
    assert "runs.order" not in [box.key for box in app.selectbox]


def test_recipes_give_mean_and_spread_over_seeds(trained: list[Path], store: Path) -> None:
    grouped = recipes.table(rows(store)).set_index("n")
    values = np.array([auprc(folder) for folder in trained[:3]])
    assert grouped.loc[3, "val_auprc"] == pytest.approx(values.mean(), abs=1e-12)
    assert grouped.loc[3, "val_auprc_sd"] == pytest.approx(
        np.sqrt(((values - values.mean()) ** 2).sum() / 2), abs=1e-12
    )
    assert grouped.loc[1, "val_auprc"] == pytest.approx(auprc(trained[3]), abs=1e-12)
    assert np.isnan(grouped.loc[1, "val_auprc_sd"])
    assert grouped.loc[1, "differs"] == "lr 0.01"
    assert (grouped["test"] == "").all()


def test_a_repeated_seed_counts_once_and_an_unfinished_run_not_at_all(
    trained: list[Path], store: Path, make_config: Callable[..., Config], tiny_data: Path
) -> None:
    run_experiment(make_config(tiny_data, {"utils.seed": 2}))
    status = open_run(trained[0]).paths.status
    write_status(status, open_run(trained[0]).status, state="cancelled")
    first = recipes.table(rows(store)).set_index("differs").loc["lr 0.0001"]
    assert (first["n"], first["others"]) == (2, 1)
    assert first["val_auprc"] == pytest.approx((auprc(trained[1]) + auprc(trained[2])) / 2, abs=1e-12)


def test_folds_of_a_seed_are_one_repeat(trained: list[Path], store: Path) -> None:
    frame = rows(store)
    frame = frame[frame["recipe"] == frame.set_index("run_id").loc[trained[0].name, "recipe"]]
    frame["fold"], frame["seed"], frame["val_auprc"] = [0, 1, 0], [1, 1, 2], [0.5, 0.7, 0.4]
    frame["validation_set"] = ["fold 0", "fold 1", "fold 0"]
    frame["recipe"] = json.dumps(json.loads(frame["recipe"].iloc[0]) | {"data.kfold.folds": 2})
    (row,) = recipes.table(frame).to_dict("records")
    assert (row["n"], row["folds"]) == (2, 2)
    assert row["val_auprc"] == pytest.approx((0.6 + 0.4) / 2, abs=1e-12)
    assert row["val_auprc_sd"] == pytest.approx(0.2 / 2**0.5, abs=1e-12)


def test_a_recipe_has_no_mean_over_seeds_of_different_validation_sets(
    trained: list[Path], store: Path, open_page: Open, said: Callable[[AppTest], str]
) -> None:
    for seed in (1, 2):
        small = {"data.budget": 12, "utils.seed": seed, "paths.outputs_root": str(store), "paths.run_dir": None}
        run_experiment(set_keys(open_run(trained[0]).config.copy(), small))
    table = recipes.table(rows(store))
    assert table["set"].tolist() == ["valid.csv", "valid.csv", "valid.csv, budget 12 (2 sets)"]
    assert table["val_auprc"].isna().tolist() == [False, False, True]
    assert table["val_auprc_sd"].isna().tolist()[-1]
    frame = rows(store)
    frame.loc[frame["seed"].eq(2) & frame["budget"].eq(12), "val_auprc"] = None
    assert recipes.table(frame)["val_auprc"].notna().all()  # only sets with metrics count
    app = open_page("runs", {"runs.view": "By recipe"})
    assert app.dataframe[0].value["val_auprc"].tolist()[-1] == ""
    assert "Best first within each validation set. No mean over several sets." in said(app)
    app = open_page("runs", {"runs.view": "By recipe", "runs.filter": "budget = all"})
    assert "Best first within" not in said(app)
    assert "No mean" not in said(app)


def test_the_range_of_two_seeds_is_not_called_an_interval(trained: list[Path], store: Path, open_page: Open) -> None:
    values = [evaluate_run(folder, ["test.csv"])["test"]["test.csv"]["auprc"] for folder in trained[:2]]
    app = open_page("runs", {"runs.view": "By recipe"})
    app.toggle(key="intervals-of-recipes").set_value(True).run()
    assert not app.exception
    (shown,) = filter(None, app.dataframe[0].value["interval"])
    low, high = map(format_metric, sorted(values))
    assert shown.startswith(f"{format_metric(np.mean(values))} (range {low} to {high})")
    assert "95 % CI" not in json.dumps(json.loads(app.dataframe[0].proto.columns)["interval"]["label"])


def test_selected_runs_are_compared(trained: list[Path], open_page: Open, said: Callable[[AppTest], str]) -> None:
    app = open_page("runs", {"runs.chosen": [folder.name for folder in trained[:2]]})
    assert app.button(key="compare-selected").disabled  # neither has test results
    assert "0 of 2 have results" in said(app)
    hint = app.button(key="compare-selected").help
    assert "without test results" in hint and "Press *Evaluate*" in hint
    for folder in trained[:2]:
        evaluate_on_validation(folder)
    assert (
        not open_page("runs", {"runs.chosen": [one.name for one in trained[:2]]})
        .button(key="compare-selected")
        .disabled
    )
    for folder in trained[:3]:
        evaluate_run(folder, ["test.csv"])
    chosen = [trained[2].name, trained[0].name]
    app = open_page("runs", {"runs.chosen": chosen})
    app.button(key="compare-selected").click().run()
    assert not app.exception
    assert app.title[0].value == "Compare"
    assert app.selectbox(key="compare.baseline").value in chosen
    assert {app.selectbox(key="compare.baseline").value, *app.multiselect(key="compare.others").value} == set(chosen)


def test_a_link_to_a_comparison_leaves_the_choice_free(trained: list[Path], open_page: Open) -> None:
    for folder in trained[:3]:
        evaluate_run(folder, ["test.csv"])
    app = open_page("compare", query={"runs": f"{trained[2].name},{trained[0].name}"})
    assert app.selectbox(key="compare.baseline").value == trained[2].name
    assert app.multiselect(key="compare.others").value == [trained[0].name]
    app.selectbox(key="compare.baseline").set_value(trained[1].name).run()
    assert not app.exception
    assert app.selectbox(key="compare.baseline").value == trained[1].name
    assert app.query_params["runs"] in (
        f"{trained[1].name},{trained[0].name}",
        [f"{trained[1].name},{trained[0].name}"],
    )


def test_the_page_groups_by_recipe(trained: list[Path], open_page: Open) -> None:
    app = open_page("runs")
    app.segmented_control(key="runs.view").set_value("By recipe").run()
    assert not app.exception
    assert list(app.dataframe[0].value["n"]) in ([3, 1], [1, 3])


def test_queries_keep_what_they_say(trained: list[Path], store: Path) -> None:
    annotate(trained[0], tags=["paper"], notes="Baseline of table 2")

    def kept(text: str = "") -> set[str]:
        expression = query.parse(text, run_fields())
        return {row["run_id"] for row in filters.matching(cache.run_rows(str(store)), expression)}

    every = {folder.name for folder in trained}
    assert kept() == every
    assert kept("TABLE baseline") == {trained[0].name}
    assert kept(f"MLP {trained[2].name}") == {trained[2].name}
    assert kept("tag = paper") == {trained[0].name}
    assert kept("state = failed") == set()
    assert kept("state in (finished, failed) and head = mlp 8 and head = mlp") == every
    assert kept("learning_rate > 1e-3 or tag = paper") == {trained[0].name, trained[3].name}
    assert kept("seed = 0 and not tag = paper") == {trained[3].name}
    assert kept("budget = all and study is empty and created = today and best epoch > 0") == every
    best = max(auprc(folder) for folder in trained)
    assert kept(f"val auprc >= {best!r}") == {folder.name for folder in trained if auprc(folder) == best}
    assert kept("test auprc > 0") == set()


def test_a_filter_without_matches_says_so(trained: list[Path], open_page: Open) -> None:
    app = open_page("runs")
    app.text_input(key="runs.filter").set_value("no such run").run()
    assert not app.exception
    assert "No runs match" in app.info[0].value


def test_stars_tags_and_notes_are_kept_with_the_run(trained: list[Path], open_page: Open) -> None:
    app = open_page("runs", {"runs.chosen": [trained[2].name]})
    app.button(key="card-star").click().run()
    app.text_area(key=f"notes-{trained[2].name}").set_value("the good one").run()
    app.multiselect(key=f"tags-{trained[2].name}").set_value([]).run()
    assert not app.exception
    written = open_run(trained[2]).annotations()
    assert (written.pinned, written.notes) == (True, "the good one")
    annotate(trained[2], notes="changed elsewhere", tags=["new"])
    app.run()
    assert app.text_area(key=f"notes-{trained[2].name}").value == "changed elsewhere"
    assert app.multiselect(key=f"tags-{trained[2].name}").value == ["new"]


def test_a_deleted_run_can_be_put_back(
    trained: list[Path], open_page: Open, store: Path, said: Callable[[AppTest], str]
) -> None:
    before = sorted(path.relative_to(trained[1]) for path in trained[1].rglob("*"))
    app = open_page("runs", {"runs.chosen": [trained[1].name]})
    app.button(key="card-delete").click().run()
    assert not app.exception
    assert trained[1].name not in {run.run_id for run in RunStore(store).runs()}
    assert "later under *Deleted* on System" in said(app)
    assert len(app.dataframe[0].value) == 3
    later = open_page("runs")
    assert "3 of 3 runs" in said(later)
    assert _deleted_links(later) == ["1 deleted"]
    assert not _deleted_links(open_page("runs", query={"view": "read"}))
    app.button(key="undo").click().run()
    assert not app.exception
    assert sorted(path.relative_to(trained[1]) for path in trained[1].rglob("*")) == before
    assert len(app.dataframe[0].value) == 4
    assert not [button for button in app.button if button.key == "undo"]
    assert not _deleted_links(app)


def test_where_every_run_is_deleted_the_page_says_how_many(trained: list[Path], open_page: Open, store: Path) -> None:
    for folder in trained:
        delete_run(store, open_run(folder))
    app = open_page("runs")
    assert _deleted_links(app) == ["4 deleted"]
    link = next(link for link in app.get("page_link") if "deleted" in link.label)
    assert link.proto.query_string == "system.open=deleted"


def _deleted_links(app: AppTest) -> list[str]:
    return [link.label for link in app.get("page_link") if "deleted" in link.label]


def test_clone_fills_the_form_with_the_settings_of_the_run(trained: list[Path], open_page: Open) -> None:
    app = open_page("runs", {"runs.chosen": [trained[3].name], "training.batch_size": 128})
    app.button(key="card-clone").click().run()
    assert not app.exception
    assert app.title[0].value == "Train"
    assert app.number_input(key="training.learning_rate").value == 1e-2
    assert app.number_input(key="training.batch_size").value == 16


def test_a_cancelled_run_is_resumed_from_its_card(trained: list[Path], open_page: Open) -> None:
    run = open_run(trained[0])
    longer = run.paths.config.read_text().replace("max_epochs: 3", "max_epochs: 5")
    run.paths.config.write_text(longer)
    write_status(run.paths.status, run.status, state="cancelled")
    app = open_page("runs", {"runs.chosen": [trained[0].name]})
    app.button(key="card-resume").click().run()
    assert not app.exception
    assert get_runner().wait(trained[0], 60)
    again = open_run(trained[0])
    assert (again.status.state, len(again.history())) == ("finished", 5)


def test_waiting_runs_change_places_and_are_removed(
    store: Path, make_config: Callable[..., Config], tiny_data: Path, open_page: Open
) -> None:
    runner = get_runner()
    active, second, third = (runner.submit(make_config(tiny_data, LONG | {"utils.seed": seed})) for seed in (1, 2, 3))
    try:
        app = open_page("runs")
        assert not app.exception
        app.button(key=f"up-{third.name}").click().run()
        assert runner.queued() == [third, second]
        app.button(key=f"remove-{third.name}").click().run()
        assert runner.queued() == [second]
        assert open_run(third).status.state == "cancelled"
        app.button(key="stop").click().run()
        assert not app.exception
        assert runner.wait(active, 60)
        assert open_run(active).status.state == "cancelled"
    finally:
        for folder in (second, active):
            runner.cancel(folder)
            assert runner.wait(folder, 60)


def test_a_run_of_another_process_is_shown_with_its_stop(
    trained: list[Path], open_page: Open, said: Callable[[AppTest], str]
) -> None:
    run = open_run(trained[0])
    write_status(run.paths.status, new_status("theirs", max_epochs=9), state="running", host="far", pid=4711)
    app = open_page("runs")
    assert not app.exception
    assert "process 4711 on far" in said(app)
    app.button(key=f"stop-{trained[0].name}").click().run()
    assert not app.exception
    assert (trained[0] / "stop_request").read_text().startswith("far 4711")


def test_the_exported_table_holds_every_digit(trained: list[Path], store: Path) -> None:
    result = evaluate_run(trained[1], ["test.csv"])["test"]["test.csv"]
    table = pd.read_csv(io.StringIO(run_table.export_frame(rows(store)).to_csv(index=False))).set_index("run_id")
    assert table.loc[trained[1].name, "test_openings"] == 1
    assert set(table["test_openings"].drop(trained[1].name)) == {0}
    assert set(table["label_origin"]) == {"unknown"}
    for folder in trained:
        assert table.loc[folder.name, "val_auprc"] == auprc(folder)
    assert table.loc[trained[1].name, "test_auprc"] == result["auprc"]
    assert table["test_auprc"].notna().sum() == 1


def test_a_run_that_is_deleted_while_the_table_is_drawn_stops_nothing(trained: list[Path], store: Path) -> None:
    evaluate_run(trained[1], ["test.csv"])
    listed = rows(store)
    shutil.rmtree(trained[0])
    table = run_table.export_frame(listed).set_index("run_id")
    assert table.loc[trained[1].name, "test_openings"] == 1
    assert pd.isna(table.loc[trained[0].name, "test_openings"])


def test_the_zip_of_a_run_holds_its_config_command_and_weights(trained: list[Path]) -> None:
    run = open_run(trained[0])
    with zipfile.ZipFile(io.BytesIO(bulk.zip_bytes([run.paths.root]))) as archive:
        names = {name.removeprefix(f"{run.run_id}/") for name in archive.namelist()}
        config = archive.read(f"{run.run_id}/config.yaml")
    assert {"config.yaml", "command.txt", "metrics.jsonl", "checkpoints/final_model.pt"} <= names
    assert config == run.paths.config.read_bytes()


def lines_of(chart: Any) -> dict[str, str]:
    """Return the colour of each line that a chart draws, by the name of its run."""
    traces = [trace for trace in json.loads(chart.proto.spec)["data"] if trace["mode"] == "lines"]
    return {trace["name"]: trace["line"]["color"] for trace in traces}


def marked(app: AppTest, store: Path) -> list[str]:
    """Return the runs beside which the table shows a line, in its order."""
    table = app.dataframe[0].value
    order = run_table.best_first(rows(store))["run_id"]
    return [run_id for run_id, line in zip(order, table.get("line", [])) if line]


def test_learning_curves_of_the_selected_runs_are_drawn_by_several_metrics(
    trained: list[Path], store: Path, open_page: Open, taken: Callable[[], dict[str, bytes]]
) -> None:
    chosen = [trained[0].name, trained[3].name]
    app = open_page("runs", {"runs.chosen": chosen})
    assert not app.get("plotly_chart")
    assert "line" not in app.dataframe[0].value
    app.toggle(key="runs.curves").set_value(True).run()
    assert not app.exception
    assert sorted(marked(app, store)) == sorted(chosen)
    whole = cache.named(cache.run_rows(str(store)))
    names = app.dataframe[0].value["name"].tolist()  # without what all runs have in common
    assert sorted(names) == sorted(differing_parts([row["name"] for row in whole]))
    auprc, loss = app.get("plotly_chart")
    assert "Validation AUPRC" in auprc.proto.spec and "Validation loss" in loss.proto.spec
    assert lines_of(auprc) == lines_of(loss)
    assert len(set(lines_of(auprc).values())) == 2
    layout = json.loads(auprc.proto.spec)["layout"]
    assert not layout["showlegend"] and layout["meta"]["picture"]["showlegend"]
    (legend,) = [
        part.proto.body for part in app.get("html") if "runs-legend" in part.proto.body and "<li>" in part.proto.body
    ]
    for name, colour in lines_of(auprc).items():
        assert name in legend and colour.removeprefix("#") in legend
    table = pd.read_csv(io.BytesIO(taken()["learning-curves-csv"]))
    for folder in (trained[0], trained[3]):
        own, history = table[table["run_id"] == folder.name], open_run(folder).history()
        assert own["auprc"].tolist() == [entry["val_metrics"]["auprc"] for entry in history]
        assert own["val_loss"].tolist() == [entry["val_loss"] for entry in history]
    with zipfile.ZipFile(io.BytesIO(taken()["learning-curves-figures"])) as archive:
        assert {"01-validation-auprc.html", "02-validation-loss.csv"} <= set(archive.namelist())
    app.multiselect(key="runs.curves-metric").set_value(["train_loss"]).run()
    assert not app.exception
    (chart,) = app.get("plotly_chart")
    assert "Training loss" in chart.proto.spec
    app.multiselect(key="runs.curves-metric").set_value([]).run()
    assert "Choose a metric." in [caption.value for caption in app.caption]


def test_without_a_selection_the_curves_are_those_of_the_query_and_a_single_run_has_its_card(
    trained: list[Path], store: Path, open_page: Open, said: Callable[[AppTest], str]
) -> None:
    app = open_page("runs", query={"runs.filter": "seed = 0", "runs.curves": "true"})
    assert not app.exception and not app.warning
    assert len(app.dataframe[0].value) == 2
    assert all(app.dataframe[0].value["line"])
    assert len(lines_of(app.get("plotly_chart")[0])) == 2
    assert list(app.dataframe[0].value) == ["line", "auprc", "name", "state"]
    assert json.loads(app.dataframe[0].proto.columns)["name"]["width"] == 216  # the state is not cut
    app.text_input(key="runs.filter").set_value("").run()
    assert set(marked(app, store)) == {folder.name for folder in trained}
    assert len(lines_of(app.get("plotly_chart")[0])) == 4
    assert "First 12" not in said(app)
    order = list(run_table.best_first(rows(store))["run_id"])
    lines = list(app.dataframe[0].value["line"])
    assert len(set(lines)) == 4
    key = f"runs-0-{hash(tuple(order)) & 0xFFFFFFFF:x}"
    app.session_state[key] = {"selection": {"rows": [1, 2], "columns": [], "cells": []}}
    app.run()
    assert marked(app, store) == order[1:3]
    assert list(app.dataframe[0].value["line"])[1:3] == lines[1:3]  # a run keeps its colour
    assert len(lines_of(app.get("plotly_chart")[0])) == 2
    app.session_state[key] = {"selection": {"rows": [1], "columns": [], "cells": []}}
    app.run()
    assert app.button(key="card-star")
    assert app.toggle(key="runs.curves").disabled and app.toggle(key="runs.curves").value
    assert not marked(app, store)
    assert app.query_params["runs.curves"] in ("true", ["true"])


def test_learning_curves_are_in_the_address_of_a_read_only_link(trained: list[Path], open_page: Open) -> None:
    query = {"runs.all": "true", "runs.curves": "true", "runs.curves-metric": "Validation loss", "view": "read"}
    app = open_page("runs", query=query)  # an address from before several metrics
    assert not app.exception and not app.warning
    (chart,) = app.get("plotly_chart")
    assert "Validation loss" in chart.proto.spec
    app = open_page("runs", query=query | {"runs.curves-metric": ["Training loss", "Validation AUROC"]})
    assert not app.exception and not app.warning
    assert ["Training loss" in chart.proto.spec for chart in app.get("plotly_chart")] == [True, False]


def test_the_smoothing_of_learning_curves_is_in_the_address(
    trained: list[Path], open_page: Open, said: Callable[[AppTest], str]
) -> None:
    app = open_page("runs", query={"runs.curves": "true", "runs.smoothing": "0.6"})
    assert not app.exception and not app.warning
    assert app.slider(key="runs.smoothing").value == 0.6
    assert "smoothed 0.6, faint: raw" in said(app)


def test_of_more_runs_the_first_twelve_are_drawn_and_the_rest_is_said(
    trained: list[Path], store: Path, open_page: Open, said: Callable[[AppTest], str]
) -> None:
    for place in range(10):
        shutil.copytree(trained[0], trained[0].with_name(f"20260101T0000{place:02}Z-abcdef"))
    app = open_page("runs", query={"runs.curves": "true"})
    assert not app.exception
    assert "First 12 of 14 runs" in said(app)
    assert marked(app, store) == list(run_table.best_first(rows(store))["run_id"][:12])
    app = open_page("runs", query={"runs.all": "true", "runs.curves": "true"})
    assert not app.exception
    assert "First 12 of 14 selected runs" in said(app)
    chart = app.get("plotly_chart")[0]
    names = {trace["name"] for trace in json.loads(chart.proto.spec)["data"]}
    assert len(names) == 12
    assert max(len(line) for name in names for line in name.split("<br>")) <= 46  # whole on a phone
    assert "visual" not in "".join(names)  # what all have in common
    assert f"max-height: {run_table.height_of(14)}px" in "".join(str(part.proto.body) for part in app.get("html"))
    assert "Best first within" not in said(app)


def test_runs_without_an_epoch_are_named_once_for_each_reason(
    trained: list[Path], store: Path, open_page: Open, said: Callable[[AppTest], str]
) -> None:
    for place in range(2):
        folder = trained[0].with_name(f"20260101T0000{place:02}Z-abcdef")
        folder.mkdir()
        shutil.copy(RunPaths(trained[0]).config, folder)
        write_status(RunPaths(folder).status, new_status(folder.name, max_epochs=3), state="cancelled")
    app = open_page("runs", query={"runs.curves": "true"})
    assert not app.exception
    assert len(marked(app, store)) == 4
    assert said(app).count("No curve of ") == said(app).count("no finished epoch") == 1


def test_recipes_have_no_column_of_what_all_have_and_whole_texts(
    trained: list[Path], make_config: Callable[..., Config], tiny_data: Path, open_page: Open
) -> None:
    run_experiment(make_config(tiny_data, {"training.weight_decay": 1e-3}))
    table = open_page("runs", {"runs.view": "By recipe"}).dataframe[0]
    assert not {"encoder", "inputs"} & set(table.value)
    longest = max(table.value["differs"], key=len)
    width = json.loads(table.proto.columns)["differs"]["width"]
    assert width == run_table.width_of(table.value["differs"]) > 4 * len(longest)
    alone = open_page("runs", {"runs.view": "By recipe", "runs.filter": "weight_decay = 1e-3"}).dataframe[0].value
    assert {"encoder", "inputs"} <= set(alone)


def test_beside_a_card_the_columns_have_the_order_of_the_whole_table() -> None:
    whole = [name for name in run_table.COLUMNS if name in run_table._BESIDE]
    assert list(run_table._BESIDE) == whole


def test_beside_a_card_the_table_has_the_columns_that_fit(trained: list[Path], open_page: Open) -> None:
    annotate(trained[0], pinned=True)
    columns = list(open_page("runs").dataframe[0].value)
    assert columns[columns.index("state") + 1] == "when"  # in sight on a small screen
    app = open_page("runs", {"runs.chosen": [trained[0].name]})
    assert list(app.dataframe[0].value) == ["star", "auprc", "name", "state"]
    app.multiselect(key="runs.columns").set_value(["name", "head", "best"]).run()
    assert list(app.dataframe[0].value) == ["name", "head", "best"]  # those that were chosen stay


def test_a_click_on_a_cell_shows_its_run_and_check_boxes_win(trained: list[Path], store: Path, open_page: Open) -> None:
    app = open_page("runs")
    ids = tuple(run_table.best_first(rows(store))["run_id"])
    key = f"runs-0-{hash(ids) & 0xFFFFFFFF:x}"
    app.session_state[key] = {"selection": {"rows": [], "columns": [], "cells": [(2, "name")]}}
    app.run()
    assert not app.exception
    assert app.query_params["run"] in (ids[2], [ids[2]])
    assert app.button(key="card-star")
    app.session_state[key] = {"selection": {"rows": [0, 1], "columns": [], "cells": [(2, "name")]}}
    app.run()
    assert app.button(key="compare-selected")
    assert app.query_params["run"] in (f"{ids[0]},{ids[1]}", [f"{ids[0]},{ids[1]}"])
