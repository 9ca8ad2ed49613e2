"""Addresses: what is gone is reported (also in `tests/pages/test_dead_ids.py`); tabs and filters are kept, back and forward work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from ctbench_core.runs import LEDGER
from tests.browser.app_server import AppServer
from tests.browser.browser_user import BrowserUser
from tests.browser.demo_runs import option_of

NewUser = Callable[[AppServer], BrowserUser]
DemoRuns = tuple[AppServer, dict[str, Path]]
GONE = "20200101T000000Z-000000"
FIGURES = "[data-testid=stMetric], [data-testid=stDataFrame], [data-testid=stPlotlyChart], [role=tablist]"


@pytest.mark.parametrize(("address", "noun"), [(f"runs?run={GONE}", "run"), (f"studies?study={GONE}", "study")])
def test_a_dead_id_leaves_a_way_out(address: str, noun: str, reader: BrowserUser) -> None:
    reader.go(address)
    reader.wait_for_text(f"This {noun} is not in the store")
    reader.press("address-clear")
    reader.page.get_by_text(f"This {noun} is not in the store").wait_for(state="detached")
    assert GONE not in reader.page.url


def test_a_run_deleted_in_another_tab_is_gone(
    server: AppServer, new_user: NewUser, evaluated_run: Callable[..., Path]
) -> None:
    shown, other = evaluated_run({"utils.seed": 1}), evaluated_run({"utils.seed": 2})
    first, second, third = (new_user(server) for _ in range(3))
    for user in (first, second):
        user.go(f"evaluate?run={shown.name}")
        user.tabs("evaluate").first.wait_for()
    second.click(second.button("evaluate-again"))
    second.fill(f"tests-{shown.name}-1", "test.csv")
    third.go(f"runs?run={shown.name}")
    third.press("card-delete")
    third.button("undo").wait_for()
    ledger = (server.store / LEDGER).read_bytes()
    first.open_tab("evaluate", "curves")
    second.press("evaluate")
    for user in (first, second):
        user.wait_for_text("This run is not in the store")
        assert user.page.locator(FIGURES).count() == 0
        assert user.page.get_by_text(other.name).count() == 0
    assert (server.store / LEDGER).read_bytes() == ledger


def test_tabs_and_filters_are_shared_by_their_address(
    reader: BrowserUser, new_user: NewUser, demo_runs: DemoRuns
) -> None:
    runs = demo_runs[1]
    reader.go(f"evaluate?run={runs['mlp 1'].name}&tab=volumes&volumes.text=test_1")
    reader.tabs("evaluate").first.wait_for()
    assert reader.current_tab("evaluate") == "volumes"
    expect(reader.field("volumes.text")).to_have_value("test_1")
    reader.go(f"runs?run={runs['mlp 1'].name}&card-tabs=Curves&runs.filter=mlp")
    reader.widget("run-card").wait_for()
    assert reader.current_tab("run card") == "curves"
    reader.fill("runs.filter", "linear")
    reader.wait_for_text("outside these filters")
    reader.click(reader.segment("runs.view", 1))
    reader.page.wait_for_url("**runs.view=By+recipe**")
    other = new_user(demo_runs[0])
    other.page.goto(reader.page.url)
    other.settle()
    other.page.locator("[class*=st-key-recipes-]").wait_for()
    expect(other.field("runs.filter")).to_have_value("linear")


def test_back_and_forward_lead_through_runs_and_pages(reader: BrowserUser, demo_runs: DemoRuns) -> None:
    runs = demo_runs[1]
    first, second = runs["mlp 1"].name, runs["mlp 2"].name
    reader.go(f"evaluate?run={first}&tab=Volumes")
    reader.tabs("evaluate").first.wait_for()
    shown = {run: option_of(folder) for run, folder in ((first, runs["mlp 1"]), (second, runs["mlp 2"]))}
    reader.choose("run", shown[second])
    reader.page.wait_for_url(f"**run={second}**")
    reader.navigate("runs")
    for name in (second, first):
        reader.page.go_back()
        reader.page.wait_for_url(f"**run={name}**")
        reader.page.wait_for_function(f"document.querySelector('.st-key-run input')?.value.includes('{shown[name]}')")
    reader.settle()
    assert reader.current_tab("evaluate") == "volumes"
    reader.page.go_forward()
    reader.page.wait_for_function(f"document.querySelector('.st-key-run input')?.value.includes('{shown[second]}')")


def test_back_from_a_page_that_a_button_opened_is_one_step_and_keeps_the_query(
    reader: BrowserUser, demo_runs: DemoRuns
) -> None:
    reader.go("runs")
    reader.fill("runs.filter", "mlp")
    reader.page.wait_for_url("**runs.filter=mlp**")
    reader.click(reader.widget("runs.all", "label"))
    reader.press("compare-selected")
    reader.tabs("compare").first.wait_for()
    reader.settle()
    assert "/compare?" in reader.page.url and "runs.filter" not in reader.page.url
    reader.page.go_back()
    reader.page.wait_for_url("**/runs?**")
    expect(reader.field("runs.filter")).to_have_value("mlp")
    reader.settle()
    assert "/runs?" in reader.page.url and "runs.filter=mlp" in reader.page.url
    reader.page.go_forward()
    reader.page.wait_for_url("**/compare?**")
    reader.tabs("compare").first.wait_for()


def test_the_runs_of_a_recipe_on_home_have_their_query_in_the_address(
    reader: BrowserUser, new_user: NewUser, demo_runs: DemoRuns
) -> None:
    def show_first_recipe(address: str) -> None:
        reader.go(address)
        if address:
            reader.wait_for_text("3 of 6 runs")
            reader.navigate("")
        reader.click(reader.segment("home.best", 1))
        reader.page.locator("[class*=st-key-recipes-]").wait_for()
        reader.select_row(0, "best-recipe-runs")
        reader.press("best-recipe-runs")
        reader.page.wait_for_url("**/runs?**runs.filter=*head*")
        reader.wait_for_text("3 of 6 runs")

    show_first_recipe("")  # a browser that has not seen Runs yet
    show_first_recipe("runs?runs.filter=linear")
    query = reader.field("runs.filter").input_value()
    reader.select_row(0, "run-card")
    reader.page.wait_for_url("**run=2*")
    other = new_user(demo_runs[0])
    other.page.goto(reader.page.url)
    other.settle()
    other.widget("run-card").wait_for()
    expect(other.field("runs.filter")).to_have_value(query)


def test_a_query_that_the_page_writes_is_in_the_address(reader: BrowserUser, demo_runs: DemoRuns) -> None:
    reader.go("runs?runs.state=finished&runs.filter=mlp")  # an address from before the query
    expect(reader.field("runs.filter")).to_have_value("mlp and state = finished")
    reader.page.wait_for_url("**/runs?runs.filter=mlp+and+state+*finished")
    reader.click(reader.button("runs-filter-box"))
    reader.choose("runs-field", "seed")
    reader.fill("runs-value", "1")
    reader.press("runs-add")
    expect(reader.field("runs.filter")).to_have_value("mlp and state = finished and seed = 1")
    reader.page.wait_for_url("**/runs?**runs.filter=*seed*")


def test_a_selected_recipe_is_in_the_address_and_back_leads_to_the_one_before(
    reader: BrowserUser, new_user: NewUser, demo_runs: DemoRuns
) -> None:
    reader.go("runs?runs.view=By+recipe")
    reader.page.locator("[class*=st-key-recipes-]").wait_for()
    reader.select_row(0, "runs-bar")
    reader.page.wait_for_url("**recipe=2*")
    reader.settle()
    first = reader.page.url
    reader.wait_for_text("3 of 6 runs")
    reader.select_row(1, "compare-recipes")
    reader.page.wait_for_url("**recipe=2*%2C2*")
    reader.settle()
    reader.page.go_back()
    reader.page.wait_for_url(first)
    reader.wait_for_text("3 of 6 runs")
    reader.settle()
    assert reader.page.url == first
    other = new_user(demo_runs[0])
    other.page.goto(first)
    other.wait_for_text("3 of 6 runs")


def test_an_unknown_value_is_reported_and_closed(reader: BrowserUser, demo_runs: DemoRuns) -> None:
    reader.go(f"evaluate?run={demo_runs[1]['mlp 1'].name}&tab=gone&colour=red")
    reader.tabs("evaluate").first.wait_for()
    notes = reader.widget("address-notes")
    for text in ("The page Evaluate has no colour", "tab=gone is unknown. Known: Findings, Curves"):
        notes.get_by_text(text).wait_for()
    reader.press("address-close")
    notes.wait_for(state="detached")
