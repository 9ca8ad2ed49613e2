"""Journeys of a hundredth day: many runs, studies, papers, and what goes wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from ctbench_core.compare import compare_runs
from ctbench_core.report.comparison import paper_frame
from ctbench_core.runs import MOST_CURVES, RunStore, open_run, read_status
from tests.browser.browser_user import sync_api
from tests.browser.journeys.declaration import Scene, journey
from tests.browser.journeys.tenth_day import open_evaluate, open_runs
from tests.browser.journeys.used_store import SWEEP, find_run, set_fields, shown_name
from tests.browser.journeys.walker import Walker


@journey(
    "hundredth",
    "A user marks the 40 runs of an old sweep as outdated.",
    "Home · Runs: query `sweep`, *Select all*, *Tag*, type the tag, *Apply*",
    store="copy",
    keyboard=True,
)
def retag_forty_runs(walker: Walker, scene: Scene) -> None:
    open_runs(walker, "sweep")
    walker.check("runs.all")
    walker.open_box("bulk-tag-box")
    walker.fill("bulk-tags", "outdated")
    walker.press("bulk-tag")
    walker.wait_for_toast(re.compile(f"{SWEEP} runs"))
    runs = RunStore(scene.store).runs()
    assert sum("outdated" in run.annotations().tags for run in runs) == SWEEP


@journey(
    "hundredth",
    "A user comes back every week to the same query, and saves it as a view.",
    "Home · Runs: query, *Views*, type a name, *Save view* · next week: *Views*, its name",
    store="copy",
)
def saved_view(walker: Walker, scene: Scene) -> None:
    open_runs(walker, "head = mlp and budget = all")
    walker.open_box("runs-views")
    walker.fill("runs-view-name", "Table 2")
    walker.press("view-save")
    later = scene.open_browser()
    later.go("runs")
    later.open_box("runs-views")
    later.press("view-Table 2")
    later.wait_for_text("3 of 48 runs")
    assert later.field("runs.filter").input_value() == "head = mlp and budget = all"
    walker.add(later)


@journey(
    "hundredth",
    "A user sends a colleague the runs of a table: query, order and selection.",
    "Home · Runs: query, *Order*, select two rows, copy the address · colleague: open it",
)
def shared_view(walker: Walker, scene: Scene) -> None:
    open_runs(walker, "head = mlp and val auprc > 0")
    walker.choose("runs.order", "Newest first")
    walker.pick_rows("runs-", find_run(scene.store, "mlp", 1).name, find_run(scene.store, "mlp", 3).name)
    walker.wait_for_text("2 selected")
    colleague = scene.open_browser()
    colleague.page.goto(walker.page.url)
    colleague.settle()
    colleague.wait_for_text("2 selected")
    sync_api.expect(colleague.field("runs.filter")).to_have_value("head = mlp and val auprc > 0")
    sync_api.expect(colleague.field("runs.order")).to_have_value("Newest first")
    chosen = {find_run(scene.store, "mlp", seed).run_id for seed in (1, 3)}
    assert set(colleague.download_table("bulk-csv")["run_id"]) == chosen


@journey(
    "hundredth",
    "A user looks at the learning curves of a sweep, loss and validation AUPRC, and sends them to a colleague.",
    "Home · Runs: query `sweep`, *Curves*, copy the address · colleague: open it",
)
def curves_of_a_sweep(walker: Walker, scene: Scene) -> None:
    open_runs(walker, "sweep")
    walker.check("runs.curves")
    walker.wait_for_text(f"First {MOST_CURVES} of {SWEEP} runs")
    colleague = scene.open_browser()
    colleague.page.goto(walker.page.url)
    colleague.settle()
    for user in (walker, colleague):
        for metric in ("auprc", "loss"):
            chart = user.widget(f"chart-validation-{metric}")
            chart.locator(".scatterlayer .js-line").first.wait_for(state="attached")
            assert chart.locator(".scatterlayer .js-line").count() == MOST_CURVES
        assert user.page.locator(".runs-legend li").count() == MOST_CURVES
    sync_api.expect(colleague.field("runs.filter")).to_have_value("sweep")


@journey(
    "hundredth",
    "The server was killed while a run trained: after a restart the user continues the run, without losing an epoch.",
    "Home · Train: *Start* · (the server is killed and started again) · Home: *Runs*, select the run, *Resume*",
    store="empty",
)
def recover_from_a_kill(walker: Walker, scene: Scene) -> None:
    with scene.serve() as server:
        user = scene.open_browser(server)
        user.go()
        user.press("demo")
        user.wait_for_page("train")
        user.fill("training.max_epochs", "3000")
        user.press("start")
        user.button("stop").wait_for()
        (run_dir,) = (path.parent for path in server.store.glob("train/*/status.json"))
        user.wait_until(lambda: len(open_run(run_dir).history()) > 3)
        user.page.goto("about:blank")
        server.process.kill()
        server.process.wait()
        walker.add(user)
    done = len(open_run(run_dir).history())
    assert (read_status(run_dir / "status.json").state, done < 3000) == ("interrupted", True)
    config = run_dir / "config.yaml"
    config.write_text(config.read_text().replace("max_epochs: 3000", f"max_epochs: {done + 20}"))
    with scene.serve() as server:
        user = scene.open_browser(server)
        user.go("runs")
        user.pick_rows("runs-", shown_name(open_run(run_dir)))
        user.press("card-resume")
        user.wait_until(lambda: read_status(run_dir / "status.json").state == "finished")
        user.wait_for_toast(re.compile(str(done + 20)))
        walker.add(user)
    assert [line["epoch"] for line in open_run(run_dir).history()] == list(range(1, done + 21))


@journey(
    "hundredth",
    "A file of a run was cut off when the disk was full: the user repairs the run.",
    "Home: *Repair or set aside* · System: *Repair*",
    store="copy",
)
def repair_a_run(walker: Walker, scene: Scene) -> None:
    run = find_run(scene.store, "mlp", 2)
    metrics = run.paths.evaluation("test").metrics
    metrics.write_text(metrics.read_text(encoding="utf-8")[:100], encoding="utf-8")
    walker.go()
    walker.wait_for_text("1 damaged run")
    walker.click(walker.page.locator('[data-testid=stPageLink] a[href*="system"]').first)
    walker.click(walker.page.locator("[class*=st-key-repair-] button").first)
    walker.wait_for_toast(re.compile("Repaired"))
    walker.page.locator("[class*=st-key-repair-]").first.wait_for(state="detached")
    assert not run.evaluations()
    assert open_run(run.paths.root).best()


@journey(
    "hundredth",
    "A user asks which of two label tables agree, finding by finding.",
    "Home · Data: *Compare labels*, type the first and the second manifest, *Compare*",
)
def two_label_sources(walker: Walker, scene: Scene) -> None:
    manifests = Path(find_run(scene.store, "mlp", 1).config.paths.manifest_dir)
    own = pd.read_csv(manifests / "test.csv")
    finding = "Emphysema"
    own.loc[own.index[:10], finding] = 1 - own.loc[own.index[:10], finding]
    own.to_csv(scene.folder / "manual.csv", index=False)
    walker.go()
    walker.navigate("data")
    walker.open_tab("data", "compare labels")
    walker.fill("sources.first", str(manifests / "test.csv"))
    walker.fill("sources.second", str(scene.folder / "manual.csv"))
    walker.press("compare-labels")
    walker.wait_for_text("428 volumes")
    rows = dict(row.split("\t", 1) for row in walker.table_text("data-tab").strip().splitlines())
    kappa, agreement, *_ = map(float, rows[finding].split("\t"))
    assert agreement == pytest.approx(1 - 10 / 428)
    assert kappa < 1 == float(rows["Cardiomegaly"].split("\t")[0])


@journey(
    "hundredth",
    "A user looks at how well volumes find their reports, and reads the nearest reports of one volume.",
    "Home · Alignment: open *Measure*, *Measure*, *Browse*, *Search from this*",
    store="copy",
)
def volume_to_reports(walker: Walker, scene: Scene) -> None:
    walker.go()
    walker.navigate("alignment")
    before = set(scene.store.glob("align/*/alignment/test/recall.csv"))
    walker.press("measure-box")
    walker.press("measure")
    walker.wait_until(lambda: len(set(scene.store.glob("align/*/alignment/test/recall.csv")) - before) == 1)
    walker.button("ranks-csv").wait_for()
    (path,) = set(scene.store.glob("align/*/alignment/test/recall.csv")) - before
    stored = pd.read_csv(path).query("truth == 'instance'").reset_index(drop=True)
    pd.testing.assert_frame_equal(walker.download_table("recall-instance-csv")[list(stored)], stored)
    walker.open_tab("alignment", "browse")
    walker.button("browse.go.0").wait_for()
    near = walker.download_table("neighbours-csv")
    assert near["similarity"].is_monotonic_decreasing
    walker.press("browse.go.0")
    walker.wait_until(lambda: walker.field("browse.part").input_value() == near["volumename"][0])


@journey(
    "hundredth",
    "A user writes the results of one run into a paper: table and Methods.",
    "Home · Evaluate: choose the run, *Paper*, *LaTeX*, *Methods*",
    keyboard=True,
)
def methods_of_a_paper(walker: Walker, scene: Scene) -> None:
    open_evaluate(walker, find_run(scene.store, "mlp", 1))
    walker.open_tab("evaluate", "paper")
    table = walker.download("paper-table-tex").decode()
    assert "Emphysema" in table
    methods = walker.download("paper-methods-txt").decode()
    assert re.search(r"evaluated 6 times by 6 runs", methods)


@journey(
    "hundredth",
    "A user needs the table that compares two recipes for a paper.",
    "Home · Runs: query `seed = 1`, select two rows, *Compare* · Compare: *Paper*, *CSV*, *LaTeX*",
)
def table_of_a_paper(walker: Walker, scene: Scene) -> None:
    linear, mlp = find_run(scene.store, "linear", 1), find_run(scene.store, "mlp", 1)
    open_runs(walker, "seed = 1 and budget = all")
    walker.pick_rows("runs-", shown_name(mlp), shown_name(linear))
    walker.press("compare-selected")
    walker.wait_for_page("compare**")
    walker.open_tab("compare", "paper")
    walker.click(walker.widget("compare.by-recipe", "label"))  # one run against one run
    names = [shown_name(mlp), shown_name(linear)]
    comparison = compare_runs([mlp.paths.root, linear.paths.root], "test", names)
    exported = walker.download_table("paper-table-csv")[list(paper_frame(comparison))]
    pd.testing.assert_frame_equal(exported, paper_frame(comparison), check_dtype=False)
    assert "Emphysema" in walker.download("paper-table-tex").decode()
    differences = pd.DataFrame(json.loads(walker.download("paper-comparison-json"))["differences"])
    assert differences["delta"].tolist() == pytest.approx(comparison.differences["delta"].tolist(), abs=1e-12)


@journey(
    "hundredth",
    "A user plans a grid of budgets and seeds, and watches the first figures come.",
    "Home · Studies: *New study*, *Label budgets*, type budgets and seeds, *Start* · *Export*, *HTML report*",
    store="copy",
)
def study_from_a_grid(walker: Walker, scene: Scene) -> None:
    set_fields(walker, scene.store, {"training.max_epochs": 3})
    walker.go()
    walker.navigate("studies")
    walker.press("new-study")
    walker.press("protocol-Label budgets")
    walker.fill("study.budget", "40, all")
    walker.fill("study.seeds", "2")
    walker.wait_for_text("4 runs")
    walker.press("study-start")
    walker.wait_for_text("4 of 4 runs")
    walker.widget("study-pause").wait_for(state="detached")  # until then the page draws itself anew
    walker.widget("chart-curves", ".scatterlayer .points path").first.wait_for(state="attached")  # without a reload
    walker.open_tab("studies", "export")
    assert len(walker.download_table("export-runs")) == 4
    assert "Plotly.newPlot(" in walker.download("export-html").decode()


@journey(
    "hundredth",
    "A user searches for better settings, and trains the best of them with new seeds.",
    "Home · Studies: *New search*, type the trials, *Start*, *Retrain best with 5 new seeds*",
    store="copy",
)
def best_of_a_search(walker: Walker, scene: Scene) -> None:
    set_fields(walker, scene.store, {"training.max_epochs": 2})
    walker.go()
    walker.navigate("studies")
    walker.press("new-search")
    walker.fill("search.trials", "3")
    walker.press("search-start")
    walker.wait_for_text("3 of 3 trials")
    walker.press("search-again")
    walker.wait_for_text("5 of 5 runs")


@journey(
    "hundredth",
    "A user checks what is wrong on a machine before asking for help.",
    "Home · System: *Run checks*",
    keyboard=True,
)
def check_the_machine(walker: Walker, scene: Scene) -> None:
    walker.go()
    walker.navigate("system")
    walker.press("doctor")
    walker.wait_for_text(re.compile(r"\bpassed\b|\bchecks?\b"))
