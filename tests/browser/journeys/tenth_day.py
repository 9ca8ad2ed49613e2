"""Journeys of a tenth day: runs are compared, chosen on validation, and evaluated on test."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from ctbench_core.formatting import format_interval
from ctbench_core.runs import LEDGER, Run, annotate, open_run, read_status
from tests.browser.browser_user import sync_api
from tests.browser.demo_runs import option_of
from tests.browser.journeys.declaration import Scene, journey
from tests.browser.journeys.used_store import BUDGETS, change_status, find_run, set_fields, shown_name
from tests.browser.journeys.walker import Walker

ENDLESS = 100_000  # epochs


def open_runs(walker: Walker, query: str = "") -> None:
    """Open Runs through the navigation, with a query."""
    walker.go()
    walker.navigate("runs")
    if query:
        walker.fill("runs.filter", query)


def open_evaluate(walker: Walker, run: Run) -> None:
    """Open Evaluate through the navigation, and choose a run."""
    walker.go()
    walker.navigate("evaluate")
    walker.tabs("evaluate").or_(walker.button("evaluate-validation")).first.wait_for()
    walker.choose("run", option_of(run.paths.root))


@journey(
    "tenth",
    "After a week of runs a user looks for the best MLP of these days, and stars it.",
    "Home · Runs: query `head = mlp and created > 7 days ago`, select the first row, *Star*",
    store="copy",
)
def last_weeks_best(walker: Walker, scene: Scene) -> None:
    annotate(find_run(scene.store, "mlp", 1).paths.root, pinned=False)
    walker.go()
    best = walker.table_text("best-runs")  # one row for each recipe of one validation set, the best one first
    assert "mlp" in best and "linear" in best
    assert "budget" not in best.casefold()  # its validation set is another
    walker.navigate("runs")
    walker.fill("runs.filter", "head = mlp and created > 7 days ago")
    table = walker.download_table("runs-csv")
    assert set(table["name"].str.partition(" ")[0]) == {"mlp"}
    assert table["val_auprc"].is_monotonic_decreasing
    walker.pick_rows("runs-", table["name"][0])
    walker.press("card-star")
    assert open_run(table["run_dir"][0]).annotations().pinned


@journey(
    "tenth",
    "A user asks whether the MLP is better than the linear probe, by finding.",
    "Home: select two rows of *Best runs*, *Compare* · Compare shows the forest plot",
)
def two_recipes(walker: Walker, scene: Scene) -> None:
    walker.go()
    walker.pick_rows("best-runs", find_run(scene.store, "linear", 2).name, find_run(scene.store, "mlp", 1).name)
    walker.press("compare-best")
    compared = [find_run(scene.store, head, 1).run_id for head in ("mlp", "linear")]  # those with test results
    walker.wait_for_page(f"compare?runs={'%2C'.join(compared)}**")
    walker.widget("chart-forest-auprc", ".scatterlayer .trace").first.wait_for()
    forest = walker.download_table("forest-auprc-csv").set_index("finding")
    delta, low, high = forest.loc["macro", ["delta", "lo", "hi"]]
    assert low < delta < high and format_interval(None, [low, high]).removeprefix("– ") in walker.table_text()
    assert walker.clicks <= 3


@journey(
    "tenth",
    "A user asks whether 120 labelled patients are better than 40.",
    "Home · Runs: query `budget < 1000`, select both rows, *Compare* · Compare: *Paper*, *LaTeX*",
)
def two_budgets(walker: Walker, scene: Scene) -> None:
    open_runs(walker, "budget < 1000")
    walker.pick_rows("runs-", *walker.download_table("runs-csv")["name"])
    walker.press("compare-selected")
    walker.wait_for_page("compare**")
    walker.open_tab("compare", "paper")
    table = walker.download("paper-table-tex").decode()
    for budget in BUDGETS:
        assert re.search(rf"budget {budget}\b", table)  # named by what differs
    assert "(1)" not in table


@journey(
    "tenth",
    "A user wants to see each finding of a run on validation before its test set is evaluated, once and logged.",
    "Home · Evaluate: choose the run, *Evaluate on validation*, look, *Evaluate on test*",
    store="copy",
    keyboard=True,
)
def validation_before_test(walker: Walker, scene: Scene) -> None:
    run, ledger = find_run(scene.store, "linear", 3), scene.store / LEDGER
    before = ledger.read_bytes()
    open_evaluate(walker, run)
    if walker.button("evaluate-validation").count():
        walker.press("evaluate-validation")
    walker.button("per-class-csv").wait_for()
    assert ledger.read_bytes() == before
    assert not run.evaluations()
    walker.press("evaluate")
    walker.wait_for_text(re.compile("evaluated [0-9]+ times? by"))
    assert run.evaluations() == ["test"]
    assert len(ledger.read_bytes().splitlines()) == len(before.splitlines()) + 1


@journey(
    "tenth",
    "A user needs the threshold with 95 % sensitivity that validation gives, and the positives it still misses.",
    "Home · Evaluate: choose the run, *Threshold*, *Sensitivity ≥ .95*, the count of missed positives, *CSV*",
    keyboard=True,
)
def operating_threshold(walker: Walker, scene: Scene) -> None:
    run = find_run(scene.store, "mlp", 1)
    open_evaluate(walker, run)
    walker.open_tab("evaluate", "threshold")
    walker.page.wait_for_url("**tab=Threshold**")
    walker.press("use-sensitivity")
    rule = walker.download_table("thresholds-csv").set_index("rule").loc["sensitivity=0.95"]
    walker.press("cell-fn")
    missed = walker.download_table("cell-csv")
    scores = pd.read_parquet(run.paths.evaluation("test").scores)
    label = next(name.removeprefix("target_") for name in scores if name.startswith("target_"))
    expected = scores[(scores[f"target_{label}"] == 1) & (scores[f"prob_{label}"] < rule["threshold"])]
    assert missed["volume"].tolist() == expected.sort_values(f"prob_{label}")["volumename"].tolist()
    assert int(walker.widget("cell-fn", "button strong").inner_text()) == len(missed)


@journey(
    "tenth",
    "A reviewer asks whether the model is worse in women.",
    "Home · Evaluate: choose the run, *Subgroups*, *Download all groups as CSV*",
    keyboard=True,
)
def subgroup_gap(walker: Walker, scene: Scene) -> None:
    open_evaluate(walker, find_run(scene.store, "mlp", 1))
    walker.open_tab("evaluate", "subgroups")
    walker.button("subgroups-csv").wait_for()
    groups = walker.download_table("subgroups-csv")
    mean = groups[(groups["finding"] == "macro_eligible") & (groups["metric"] == "auprc")].set_index("group")
    assert set(mean.index) == {"F", "M"}
    assert mean.loc["F", "gap"] == pytest.approx(-mean.loc["M", "gap"])
    low, gap, high = mean.loc["F", ["gap_lo", "gap", "gap_hi"]].tolist()
    assert low < gap < high
    assert format_interval(gap, [low, high]) in walker.table_text("tab")
    walker.page.locator("[data-testid=stPlotlyChart] .scatterlayer .trace").first.wait_for(state="attached")


@journey(
    "tenth",
    "A user shows a colleague which positives of a finding the model misses, without the colleague changing anything.",
    "Home · Evaluate: choose the run, *Volumes*, *false negatives*, copy *Read-only link* · colleague: open it",
)
def explain_a_finding(walker: Walker, scene: Scene) -> None:
    run = find_run(scene.store, "mlp", 2)
    open_evaluate(walker, run)
    walker.open_tab("evaluate", "volumes")
    walker.click(walker.widget("volumes.kind", "button").locator("xpath=..").get_by_text("false negatives"))
    missed = walker.download_table("volumes-csv")
    link = walker.page.locator('a[href*="view=read"]').first
    link.focus()  # it takes the address of this moment
    colleague = scene.open_browser()
    colleague.go(str(link.get_attribute("href")).removeprefix(f"{scene.server.url}/"))
    colleague.widget("readonly").wait_for()
    colleague.tabs("evaluate").first.wait_for()
    assert colleague.button("evaluate").count() == 0
    sync_api.expect(colleague.field("run")).to_have_value(option_of(run.paths.root))
    assert missed.equals(colleague.download_table("volumes-csv"))  # the same tab and choice


@journey(
    "tenth",
    "A user wants to place a run beside published results, and to know which of them can be compared.",
    "Home · Compare: *Published*",
    keyboard=True,
)
def published_results(walker: Walker, scene: Scene) -> None:
    walker.go()
    walker.navigate("compare")
    walker.open_tab("compare", "published")
    rows = walker.table_text("compare-published").strip().splitlines()
    assert len(rows) > 6  # those in view
    assert all("ours 428" in row for row in rows)  # what differs from these runs


@journey(
    "tenth",
    "A user repeats a run with another head and the same other settings.",
    "Home · Runs: select the run, *Clone* · Train: *Kind* linear, *Start*, *Evaluate this run*",
    store="copy",
)
def clone_with_another_head(walker: Walker, scene: Scene) -> None:
    source = find_run(scene.store, "mlp", 2)
    open_runs(walker, "head = mlp and seed = 2")
    walker.pick_rows("runs-", source.name)
    walker.press("card-clone")
    walker.wait_for_page("train")
    walker.choose("model._target_", "Linear")
    before = set(scene.store.glob("train/*/status.json"))
    walker.press("start")
    walker.button("to-evaluate").wait_for()
    (made,) = set(scene.store.glob("train/*/status.json")) - before
    config = open_run(made.parent).config
    assert (config.model._target_, config.utils.seed) == ("linear", 2)
    assert config.training == source.config.training


@journey(
    "tenth",
    "The machine was restarted while a run trained: its user continues it from the last epoch.",
    "Home · Runs: query `state = interrupted`, select the run, *Resume*; the page shows it at once; *Stop*",
    store="copy",
)
def resume(walker: Walker, scene: Scene) -> None:
    run = find_run(scene.store, "linear", 2)
    config = run.paths.root / "config.yaml"
    text = config.read_text(encoding="utf-8").replace("max_epochs: 6", f"max_epochs: {ENDLESS}")
    text = re.sub(r"early_stopping_patience: \d+", f"early_stopping_patience: {ENDLESS}", text)
    config.write_text(text, encoding="utf-8")
    change_status(run.paths.root, {"state": "interrupted", "max_epochs": ENDLESS})
    open_runs(walker, "state = interrupted")
    walker.pick_rows("runs-", shown_name(run))
    walker.press("card-resume")
    walker.button("stop").wait_for()
    walker.wait_until(lambda: read_status(run.paths.root / "status.json").epoch > 6)
    walker.press("stop")
    walker.wait_until(lambda: read_status(run.paths.root / "status.json").state == "cancelled")


@journey(
    "tenth",
    "A user queues three runs, and lets the last one start before the second.",
    "Home · Train: *Start*, *Configuration*, type a seed, *Queue*, type a seed, *Queue* · Runs: *Move up*, then *Remove* and *Stop*",
    store="copy",
)
def queue_three(walker: Walker, scene: Scene) -> None:
    set_fields(walker, scene.store, {"training.max_epochs": ENDLESS, "training.early_stopping_patience": ENDLESS})
    walker.go()
    walker.navigate("train")
    names = []
    for seed in (11, 12, 13):
        if len(names) == 1:
            walker.open_form()
        walker.fill("utils.seed", str(seed))
        before = set(scene.store.glob("train/*/status.json"))
        walker.press("start")
        walker.button("stop").wait_for()
        (made,) = set(scene.store.glob("train/*/status.json")) - before
        names.append(made.parent.name)
    walker.navigate("runs")
    waiting = walker.page.locator("[class*=st-key-up-]")
    walker.press(f"up-{names[2]}")
    order = [name for button in waiting.all() for name in names if name in button.get_attribute("class")]
    assert order == [names[2], names[1]]
    for name in order:
        walker.press(f"remove-{name}")
    walker.press("stop")
    walker.wait_until(lambda: read_status(scene.store / "train" / names[0] / "status.json").state == "cancelled")


@journey(
    "tenth",
    "A user collects the runs of a paper: stars one, and lists the starred ones.",
    "Home · Runs: select a run, *Star*, query `star = yes`",
    store="copy",
)
def star_and_filter(walker: Walker, scene: Scene) -> None:
    run = find_run(scene.store, "mlp", 3)
    open_runs(walker, "head = mlp and seed = 3")
    walker.pick_rows("runs-", run.name)
    walker.press("card-star")
    walker.fill("runs.filter", "star = yes")
    walker.wait_for_text("2 of 48 runs")
    assert set(walker.download_table("runs-csv")["name"]) == {run.name, find_run(scene.store, "mlp", 1).name}


@journey(
    "tenth",
    "A user deletes a run, and notices that it was the wrong one.",
    "Home · Runs: select the run, *Delete*, *Undo*",
    store="copy",
)
def undo_a_delete(walker: Walker, scene: Scene) -> None:
    run = find_run(scene.store, "linear", 2)
    open_runs(walker, "head = linear and seed = 2")
    walker.pick_rows("runs-", run.name)
    walker.press("card-delete")
    walker.button("undo").wait_for()
    assert not run.paths.root.exists()
    walker.press("undo")
    walker.button("undo").wait_for(state="detached")
    assert read_status(run.paths.root / "status.json").state == "finished"
    assert run.name in walker.table_text("runs-")


@journey(
    "tenth",
    "A user evaluates a run on a test set of another hospital.",
    "Home · Evaluate: choose the run, open *Evaluate on test*, type the manifest, *Evaluate on test*",
    store="copy",
)
def external_test_set(walker: Walker, scene: Scene) -> None:
    run = find_run(scene.store, "mlp", 2)
    manifest = pd.read_csv(f"{run.config.paths.manifest_dir}/test.csv").head(60)
    manifest.to_csv(scene.folder / "hospital_b.csv", index=False)
    open_evaluate(walker, run)
    walker.click(walker.button("evaluate-again"))
    walker.fill(f"tests-{run.run_id}-1", str(scene.folder / "hospital_b.csv"))
    walker.press("evaluate")
    walker.wait_for_text("60 volumes")
    assert set(run.evaluations()) == {"test", "hospital_b"}


@journey(
    "tenth",
    "A user wants mean and spread over seeds, not the luckiest seed.",
    "Home · Runs: *By recipe*, *CSV*",
    keyboard=True,
)
def means_over_seeds(walker: Walker, scene: Scene) -> None:
    open_runs(walker, "head = mlp")
    walker.click(walker.segment("runs.view", 1))
    walker.widget("runs-csv").wait_for()
    (row,) = walker.download_table("runs-csv").to_dict("records")
    values = pd.Series([find_run(scene.store, "mlp", seed).best()["val_metrics"]["auprc"] for seed in (1, 2, 3)])
    assert row["n"] == 3
    assert abs(row["val_auprc"] - values.mean()) < 1e-12
    assert abs(row["val_auprc_sd"] - values.std()) < 1e-12
