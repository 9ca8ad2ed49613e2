"""Runs of the older system, brought in on the Runs page as a person does it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from streamlit.testing.v1 import AppTest

from ctbench_core.runs import RunStore

Open = Callable[..., AppTest]


def test_old_runs_are_looked_at_and_brought_in(
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
    assert "no mapping" in table["problem"][2]
    assert not list(store.rglob("status.json"))
    assert app.button(key="bring-in-take").label == "Bring in 2 runs"
    app.button(key="bring-in-take").click().run()
    assert not app.exception
    assert "2 runs brought in" in said(app)
    runs = RunStore(store).runs()
    assert sorted(run.name for run in runs) == ["train_n50_s1", "train_n50_s2"]
    shown = next(frame.value for frame in app.dataframe if "auprc" in frame.value and "name" in frame.value)
    assert sorted(shown["auprc"]) == sorted(run.best()["val_metrics"]["auprc"] for run in runs)


def test_a_folder_without_old_runs_is_explained(open_page: Open, store: Path, said: Callable[[AppTest], str]) -> None:
    store.mkdir()
    app = open_page("runs", {"bring-in": True})
    app.text_input(key="bring-in.folder").set_value(str(store)).run()
    app.button(key="bring-in-look").click().run()
    assert "holds no run of the older system" in said(app)
