"""A read-only link in a browser: opened from a page, passed on, kept while turning pages, left on purpose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.browser.hands import Hands
from tests.browser.served import Server


def test_a_link_is_passed_on_and_stays_read_only(
    week: tuple[Server, dict[str, Path]], reader: Hands, meet: Callable[[Any], Hands]
) -> None:
    run = week[1]["mlp 2"].name
    reader.go(f"evaluate?run={run}")
    reader.sees("Open a test set")
    offered = reader.page.get_by_role("link", name="Read-only link").get_attribute("href")
    other = meet(week[0])
    other.go(f"evaluate{offered}")
    other.sees("Macro AUPRC")
    other.sees("Read-only link")
    assert run in other.field("run").input_value()
    assert other.page.get_by_text("Open a test set").count() == 0
    links = other.page.get_by_test_id("stSidebarNav").get_by_role("link")
    assert [text.split()[-1] for text in links.all_inner_texts()] == ["Evaluate", "Compare", "Alignment"]
    other.turn("Alignment")
    other.arrives("alignment*")
    other.sees("Read-only link")
    assert "view=read" in other.page.url
    assert other.button("measure").count() == 0
    other.press("readonly-leave")
    other.button("measure").wait_for()
    assert "view=read" not in other.page.url
    assert links.count() > 3


def test_a_page_that_changes_things_is_left_out_of_a_cold_link(reader: Hands) -> None:
    reader.go("train?view=read")
    reader.sees("a read-only link leaves it out")
    assert reader.button("start").count() == 0
