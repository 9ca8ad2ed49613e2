"""What only a browser shows: cold links, real data from the check to the figures, what is wrong with a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from tests.browser.hands import Hands

PAGES = {
    "": "ctbench",
    "data": "Data",
    "train": "Train",
    "runs": "Runs",
    "evaluate": "Evaluate",
    "compare": "Compare",
    "alignment": "Alignment",
    "studies": "Studies",
    "system": "System",
}


def test_every_page_opens_from_its_address(server: Any, user: Hands) -> None:
    for address, title in PAGES.items():
        user.page.goto(f"{server.url}/{address}")
        user.page.get_by_role("heading", name=title, exact=True, level=1).wait_for()
        user.settle()
        assert user.page.locator("[data-testid=stException]").count() == 0


def test_alignment_is_measured_and_taken_away(server: Any, user: Hands) -> None:
    user.go()
    user.press("demo")
    user.arrives("train")
    user.page.get_by_role("link", name="Alignment").click()
    user.press("measure")  # the queue measures; the page shows the result by itself
    user.page.locator("[data-testid=stPlotlyChart] .barlayer .bars").nth(1).wait_for()
    (folder,) = server.store.glob("align/*/alignment/test")
    for name in ("recall", "histogram"):
        stored = pd.read_csv(folder / f"{name}.csv")
        pd.testing.assert_frame_equal(user.frame(f"{name}-csv")[list(stored)], stored)


def test_real_data_are_checked_trained_and_evaluated(
    server: Any, user: Hands, real_data: Callable[[str], Path]
) -> None:
    root = real_data("ctrate")
    user.go("data")
    user.fill("paths.data_root", str(root / "features" / "minilm"))
    user.fill("paths.manifest_dir", str(root / "manifests"))
    user.press("check")
    user.sees("18 findings")
    user.sees("1,819 volumes / 934 exams / 782 patients")
    user.press("to-train")
    user.arrives("train")
    user.fill("training.max_epochs", "2")
    user.press("start")
    user.press("to-evaluate")
    user.arrives("evaluate**")
    user.press("evaluate")
    user.sees("741 volumes / 389 exams / 326 patients")


def test_a_folder_without_manifests_is_named(server: Any, user: Hands, tmp_path: Path) -> None:
    user.go("data")
    user.fill("paths.manifest_dir", str(tmp_path / "nowhere"))
    user.press("check")
    alert = user.page.locator("[data-testid=stAlert]").filter(has_text="train.csv does not exist")
    alert.wait_for()
    assert "nowhere" in alert.inner_text()
