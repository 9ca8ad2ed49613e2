"""Journeys of a first day: from nothing, or a folder, to the first results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ctbench_core.runs import open_run
from tests.browser.browser_user import sync_api
from tests.browser.journeys.declaration import Scene, journey
from tests.browser.journeys.tenth_day import open_evaluate
from tests.browser.journeys.used_store import find_run, set_fields
from tests.browser.journeys.walker import Walker
from tests.other_lab import FINDINGS, write_lab

COLUMNS = ("volumename", "visual_feature_path")


def write_splits(folder: Path, columns: tuple[str, str] = COLUMNS, last_label: int | None = None) -> Path:
    """Write ``features/`` and ``manifests/`` of three splits; return the folder.

    Args:
        columns: the names of the columns of volumes and of feature files.
        last_label: of line 7 of the training manifest, instead of 0 or 1.
    """
    draw = np.random.default_rng(3)
    for split, count in {"train": 40, "val": 12, "test": 12}.items():
        rows = []
        for row in range(count):
            vector, name = draw.normal(size=8).astype(np.float32), f"image/{split}_{row}.npz"
            (folder / "features" / name).parent.mkdir(parents=True, exist_ok=True)
            np.savez(folder / "features" / name, vector)
            rows.append([f"{split}_{row}_a_1", name, *(vector[:3] > 0).astype(int)])
        if split == "train" and last_label is not None:
            rows[5][-1] = last_label
        (folder / "manifests").mkdir(exist_ok=True)
        table = pd.DataFrame(rows, columns=[*columns, *FINDINGS])
        table.to_csv(folder / "manifests" / f"chest_{split}.csv", index=False)
    return folder


def choose_folders(walker: Walker, lab: Path) -> None:
    """Choose feature root and manifests on Data."""
    walker.go("data")
    walker.fill("paths.data_root", str(lab / "features"))
    walker.fill("paths.manifest_dir", str(lab / "manifests"))


def train_and_evaluate(walker: Walker) -> None:
    """Start the configured run, and evaluate it on test."""
    walker.press("start")
    walker.button("to-evaluate").wait_for()
    walker.press("to-evaluate")
    walker.wait_for_page("evaluate**")
    walker.press("evaluate")
    walker.button("per-class-csv").wait_for()


@journey(
    "first",
    "A new user wants to see a result before preparing any data.",
    "Home: *Try it with demo data* · Train: *Start*, *Evaluate this run* · Evaluate: *Evaluate on test*",
    store="empty",
    keyboard=True,
)
def demo_to_results(walker: Walker, scene: Scene) -> None:
    walker.go()
    walker.press("demo")
    walker.wait_for_page("train")
    train_and_evaluate(walker)
    table = walker.download_table("per-class-csv")
    assert len(table) == 18
    assert {"auprc", "auprc_ci_lower", "auprc_ci_upper"} <= set(table)
    assert walker.clicks <= 4


@journey(
    "first",
    "A user has a folder of embeddings and a label table with names of another lab, and wants metrics by finding.",
    "Data: type the folder, press the three fixes that are offered, *Continue to training* · Train: *Start*, "
    "*Evaluate this run* · Evaluate: *Evaluate on test*",
    store="empty",
    keyboard=True,
)
def own_folder(walker: Walker, scene: Scene) -> None:
    lab = write_lab(scene.folder / "lab", volumes=120)
    walker.go("data")
    walker.fill("paths.data_root", str(lab / "embeddings"))
    for fix in ("data.columns.visual_feature=AccessionNo", "data.labels.uncertain=unknown", "data.columns.split=split"):
        walker.press(f"fix-{fix}")
        walker.button(f"fix-{fix}").wait_for(state="detached")  # what is below it moves up
    walker.press("to-train")
    walker.wait_for_page("train**")
    train_and_evaluate(walker)
    table, labels = walker.download_table("per-class-csv"), pd.read_csv(lab / "labels.tsv.gz", sep="\t")
    tested = labels[labels["split"] == "test"][FINDINGS]
    assert table["finding"].tolist() == FINDINGS
    assert table["support"].tolist() == (tested == 1).sum().tolist()
    assert walker.clicks + walker.fields <= 8


@journey(
    "first",
    "A user has manifests whose columns have other names, and uploads them.",
    "Data: type the feature root, *Upload manifests*, press the fix that is offered, *Continue to training*",
    store="empty",
)
def uploaded_manifests(walker: Walker, scene: Scene) -> None:
    lab = write_splits(scene.folder, ("VolumeName", "image_path"))
    walker.go("data")
    walker.fill("paths.data_root", str(lab / "features"))
    walker.open_box("data-upload-box")
    walker.upload("data-upload", sorted((lab / "manifests").iterdir()))
    walker.page.keyboard.press("Escape")
    walker.press("fix-data.columns.visual_feature=image_path")
    walker.wait_for_text("3 findings")
    walker.press("to-train")
    walker.wait_for_page("train")
    (folder,) = (scene.store / ".uploads").iterdir()
    assert {path.name for path in folder.iterdir()} == {"chest_train.csv", "chest_val.csv", "chest_test.csv"}


@journey(
    "first",
    "One label of a manifest is a 2: the user wants to know where, and to go on.",
    "Data: type both folders, read the error, *Read 2 as unknown*",
    store="empty",
)
def wrong_label(walker: Walker, scene: Scene) -> None:
    lab = write_splits(scene.folder, last_label=2)
    choose_folders(walker, lab)
    alert = walker.page.get_by_test_id("stAlert").filter(has_text=FINDINGS[-1]).filter(has_text="line 7").first
    alert.wait_for()
    text = alert.locator("pre code")
    assert text.evaluate("(code) => code.scrollWidth <= code.clientWidth + 1")  # it wraps
    assert "data.labels" not in text.inner_text()
    assert walker.button("confirm-findings").count() == 0
    walker.press("fix-data.labels.values={'2': 'unknown'}")
    walker.wait_for_text("3 findings")
    walker.button("to-train").wait_for()


@journey(
    "first",
    "A user saves an own data set, starts a run in the evening, and goes on the next morning with the same settings.",
    "Data: type both folders, *Confirm* the findings, *Save*, *Continue to training* · Train: type the batch size, *Start* "
    "· next morning: Train",
    store="empty",
)
def come_back(walker: Walker, scene: Scene) -> None:
    lab = write_splits(scene.folder)
    choose_folders(walker, lab)
    walker.press("confirm-findings")
    walker.press("save")
    walker.press("to-train")
    walker.wait_for_page("train")
    walker.fill("training.batch_size", "48")
    walker.press("start")
    walker.page.locator(".st-key-stop, .st-key-to-evaluate").first.wait_for()
    (status,) = scene.store.glob("train/*/status.json")
    assert open_run(status.parent).config.training.batch_size == 48
    assert walker.clicks + walker.fields <= 8
    morning = scene.open_browser()
    morning.go("train")
    morning.wait_for_text("Settings of this browser's last session")
    sync_api.expect(morning.field("training.batch_size")).to_have_value("48")
    morning.wait_for_text("40 volumes")


@journey(
    "first",
    "A user changes optimiser and schedule on a small laptop screen.",
    "Home · Train: *Advanced*, *AdamW*, *cosine*, *Start*",
    store="copy",
    keyboard=True,
)
def advanced_settings(walker: Walker, scene: Scene) -> None:
    set_fields(walker, scene.store, {"training.max_epochs": 2})
    before = set(scene.store.glob("train/*/status.json"))
    walker.page.set_viewport_size({"width": 1280, "height": 800})
    walker.go()
    walker.navigate("train")
    walker.click(walker.widget("train.advanced", "summary"))
    walker.choose("training.optimizer", "AdamW")
    walker.click(walker.widget("training.scheduler").get_by_role("radio").nth(1))
    for text in walker.widget("train.advanced", "button p").locator("xpath=..").all():
        assert text.evaluate("(text) => text.scrollWidth <= text.clientWidth + 1"), text.inner_text()  # not cut
    walker.press("start")
    walker.button("to-evaluate").wait_for()
    (made,) = set(scene.store.glob("train/*/status.json")) - before
    training = open_run(made.parent).config.training
    assert (training.optimizer, training.scheduler) == ("adamw", "cosine")


@journey(
    "first",
    "A user wants to see at a glance which findings are easy, hard or rare.",
    "Home · Evaluate: choose the run, look at the plot beside the table",
)
def easy_and_hard(walker: Walker, scene: Scene) -> None:
    open_evaluate(walker, find_run(scene.store, "mlp", 1))
    stored = walker.download_table("dots-csv").set_index("finding")["auprc"]
    plot = walker.widget("chart-dots", ".js-plotly-plot")
    plot.locator(".scatterlayer .trace").first.wait_for()
    order = plot.evaluate("(plot) => plot._fullLayout.yaxis._categories ?? plot._fullLayout.yaxis.ticktext")
    assert order == stored.sort_values(ascending=False).index.tolist()
