"""Real data from the check to the results, and a missing manifest folder."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from tests.browser.browser_user import BrowserUser


def _sizes(volumes: str, exams: str, patients: str) -> re.Pattern[str]:
    return re.compile(rf"\b{volumes}\b\D+\b{exams}\b\D+\b{patients}\b")


def test_real_data_are_checked_trained_and_evaluated(user: BrowserUser, real_data: Callable[[str], Path]) -> None:
    root = real_data("ctrate")
    user.go("data")
    user.fill("paths.data_root", str(root / "features" / "minilm"))
    user.fill("paths.manifest_dir", str(root / "manifests"))
    user.press("check")
    user.wait_for_text("18 findings")
    user.wait_for_text(_sizes("1,819", "934", "782"))
    user.press("to-train")
    user.wait_for_page("train")
    user.fill("training.max_epochs", "2")
    user.press("start")
    user.press("to-evaluate")
    user.wait_for_page("evaluate**")
    user.press("evaluate")
    user.wait_for_text(_sizes("741", "389", "326"))


def test_the_error_names_a_missing_manifest_and_its_folder(user: BrowserUser, tmp_path: Path) -> None:
    user.go("data")
    user.fill("paths.manifest_dir", str(tmp_path / "nowhere"))
    user.press("check")
    alert = user.page.get_by_test_id("stAlert").filter(has_text="train.csv").filter(has_text="nowhere")
    alert.first.wait_for()
