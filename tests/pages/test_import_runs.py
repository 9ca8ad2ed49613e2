"""Import runs of the older system on the Runs page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from ctbench_core.compare import compare_runs
from ctbench_core.formatting import format_metric
from ctbench_core.jobs import get_runner
from ctbench_core.legacy import import_runs
from ctbench_core.runs import RunStore, open_run
from tests.old_system import drop_optimiser

Open = Callable[..., AppTest]


def test_old_runs_are_listed_and_imported(
    open_page: Open, store: Path, make_old_run: Callable[..., Path], said: Callable[[AppTest], str]
) -> None:
    for seed in (1, 2):
        make_old_run(f"gpt_budget/train_n50_s{seed}", seed=seed)
    folder = make_old_run("gpt_budget/train_n50_s3", seed=3).parent
    (folder / "train_n50_s3" / ".hydra" / "config.yaml").write_text("- no mapping")
    app = open_page("runs", {"bring-in": True})
    app.text_input(key="bring-in.folder").set_value(str(folder)).run()
    app.button(key="bring-in-look").click().run()
    assert not app.exception
    table = app.dataframe[0].value
    assert list(table["run"]) == [f"gpt_budget/train_n50_s{seed}" for seed in (1, 2, 3)]
    assert "expected a mapping" in table["problem"][2]
    assert not list(store.rglob("status.json"))
    assert app.button(key="bring-in-take").label == "Import 2 runs"
    app.button(key="bring-in-take").click().run()
    assert not app.exception
    assert "2 runs imported" in said(app)
    runs = RunStore(store).runs()
    assert sorted(run.name for run in runs) == ["train_n50_s1", "train_n50_s2"]
    shown = next(frame.value for frame in app.dataframe if "auprc" in frame.value and "name" in frame.value)
    assert sorted(shown["auprc"]) == sorted(format_metric(run.best()["val_metrics"]["auprc"]) for run in runs)


def test_a_folder_without_old_runs_is_explained(open_page: Open, store: Path, said: Callable[[AppTest], str]) -> None:
    store.mkdir()
    app = open_page("runs", {"bring-in": True})
    app.text_input(key="bring-in.folder").set_value(str(store)).run()
    app.button(key="bring-in-look").click().run()
    assert "holds no run of the older system" in said(app)


def test_resume_is_offered_only_where_the_older_run_goes_on(
    make_old_run: Callable[..., Path], store: Path, open_page: Open, said: Callable[[AppTest], str]
) -> None:
    old = make_old_run("manual_budget/2025-11-03_10-20-30", finished=False)
    drop_optimiser(old)
    (stuck,) = import_runs(old, store)
    app = open_page("runs", {"runs.chosen": [stuck.run_dir.name]})
    assert "cannot be resumed" in said(app)
    assert "would start over" in said(app)
    assert "card-resume" not in {button.key for button in app.button}
    more = {"training.max_epochs": 6}  # it was stopped after four
    (taken,) = import_runs(make_old_run("manual_budget/2025-11-04_10-20-30", finished=False, seed=7), store, more)
    app = open_page("runs", {"runs.chosen": [taken.run_dir.name]})
    app.button(key="card-resume").click().run()
    assert not app.exception
    assert get_runner().wait(taken.run_dir, 60)
    run = open_run(taken.run_dir)
    assert (run.status.state, [line["epoch"] for line in run.history()]) == ("finished", [1, 2, 3, 4, 5, 6])


def test_older_runs_are_evaluated_and_compared_on_the_pages(
    make_old_run: Callable[..., Path], store: Path, open_page: Open
) -> None:
    olds = [make_old_run(f"manual_budget/run_s{seed}", seed=seed, epochs=2) for seed in (1, 2)]
    runs = {run.label: run.run_dir for run in import_runs(olds[0].parent, store)}
    for folder in runs.values():
        app = open_page("evaluate", query={"run": folder.name})
        app.button(key="evaluate").click().run()
        assert not app.exception
        assert open_run(folder).evaluations() == ["test"]
    app = open_page("compare", {"compare.baseline": runs["run_s1"].name, "compare.others": [runs["run_s2"].name]})
    assert not app.exception and not app.error
    expected = compare_runs(list(runs.values())).differences.query("metric == 'auprc'")
    shown = next(frame.value for frame in app.dataframe if "finding" in frame.value and "delta" in frame.value)
    assert list(shown["delta"]) == pytest.approx(list(expected["delta"]), nan_ok=True)
