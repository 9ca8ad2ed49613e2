"""Everything that can be taken away, page by page, on a store as after a week of work: each file opens and is whole."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from tests.browser.hands import Hands
from tests.browser.served import Server


def everything(user: Hands) -> dict[str, bytes]:
    """Press every download button in sight; return the files by their names."""
    found = {}
    user.settle()
    buttons = user.page.get_by_test_id("stDownloadButton").get_by_role("button")
    for place in range(buttons.count()):
        with user.page.expect_download() as waiting:
            buttons.nth(place).click()
        found[waiting.value.suggested_filename] = Path(waiting.value.path()).read_bytes()
    return found


def is_whole(user: Hands, files: dict[str, bytes]) -> None:
    """Open every file: tables have rows, pages draw their figure without a network, zips are sound."""
    assert files
    alone = user.page.context.browser.new_context(offline=True)
    for name, content in files.items():
        ending = name.rpartition(".")[2]
        if ending == "csv":
            assert len(pd.read_csv(io.BytesIO(content))), name
        elif ending == "html":
            sheet = alone.new_page()
            sheet.set_content(content.decode())
            sheet.locator(".plotly .trace, .plotly .hm, .plotly image").first.wait_for(state="attached")
            sheet.close()
        elif ending == "zip":
            assert zipfile.ZipFile(io.BytesIO(content)).testzip() is None
        elif ending == "json":
            assert json.loads(content), name
        elif ending in ("tex", "txt"):
            assert content.decode().strip(), name
        else:
            pytest.fail(f"{name}: no test opens such a file")
    alone.close()


def is_marked(files: dict[str, bytes]) -> None:
    """Find openings and label origin in every file of an opened test set; four runs opened it once each."""
    for name, content in files.items():
        text = content.decode().replace("<br>", " ")
        if name.endswith(".csv"):
            table = pd.read_csv(io.BytesIO(content))
            assert set(table["test_openings"]) == {4}, name
            assert set(table["label_origin"]) == {"unknown"}, name
            assert {"leak_patients", "warning"} <= set(table), name
        elif name.endswith(".json"):
            assert (json.loads(content)["openings"], json.loads(content)["label_origin"]) == (4, ["unknown"]), name
        else:
            assert "opened 4 times by 4 runs" in text or "4 openings of this test set by 4 runs" in text, name
            assert re.search("label origin: unknown", text, re.IGNORECASE), name


@pytest.mark.parametrize(
    ("address", "endings"),
    [
        ("evaluate", {"csv", "html", "tex", "txt"}),
        ("compare", {"csv", "html", "tex", "txt", "json"}),
        ("alignment", {"csv", "html"}),
    ],
)
def test_every_file_of_every_tab_opens(reader: Hands, address: str, endings: set[str]) -> None:
    reader.go(address)
    names = reader.page.get_by_role("tab").all_inner_texts() or [None]
    taken = {}
    for name in names:
        if name is not None:
            reader.open_tab(name)
        taken |= everything(reader)
    is_whole(reader, taken)
    assert {name.rpartition(".")[2] for name in taken} == endings
    if address != "alignment":
        is_marked(taken)


def test_the_files_of_a_check_hold_what_was_counted(reader: Hands) -> None:
    reader.go("data")
    reader.press("check")
    reader.button("prevalence-csv").wait_for()
    share = everything(reader)
    reader.open_tab("Co-occurrence")
    together = everything(reader)
    reader.open_tab("Norms")
    lengths = everything(reader)
    is_whole(reader, share | together | lengths)
    (prevalence,) = (pd.read_csv(io.BytesIO(file)) for name, file in share.items() if name.endswith("prevalence.csv"))
    (counts,) = (pd.read_csv(io.BytesIO(file)) for name, file in together.items() if name.endswith("together.csv"))
    (norms,) = (pd.read_csv(io.BytesIO(file)) for name, file in lengths.items() if name.endswith("norms.csv"))
    assert set(norms["vectors"]) == {"visual"}  # a check reads the vectors that the head reads
    assert list(counts["finding"]) == list(prevalence["finding"])
    assert (counts.drop(columns="finding").to_numpy().diagonal() > 0).all()


def test_the_files_of_a_run_are_the_stored_ones(reader: Hands, week: tuple[Server, dict[str, Path]]) -> None:
    reader.go("runs")
    table = reader.frame("runs-csv").set_index("run_id")
    for name, run_dir in week[1].items():
        if name == "align":
            assert run_dir.name not in table.index
            continue
        best = json.loads((run_dir / "best_metrics.json").read_text(encoding="utf-8"))
        assert table.loc[run_dir.name, "val_auprc"] == pytest.approx(best["val_metrics"]["auprc"], abs=1e-12)
        opened = run_dir / "evaluation" / "test" / "metrics.json"
        if opened.is_file():
            stored = json.loads(opened.read_text(encoding="utf-8"))["auprc"]
            assert table.loc[run_dir.name, "test_auprc"] == pytest.approx(stored, abs=1e-12)
        else:
            assert pd.isna(table.loc[run_dir.name, "test_auprc"])  # a test that was not opened shows nothing
    reader.pick_row(0, "run-card")
    reader.open_tab("Curves")
    files = everything(reader)
    is_whole(reader, files)
    run_id = next(name for name in files if name.endswith(".zip")).removesuffix(".zip")
    (run_dir,) = (folder for folder in week[1].values() if folder.name == run_id)
    curves = pd.read_csv(io.BytesIO(files[f"{run_id}-epochs.csv"]))
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert curves["epoch"].tolist() == [line["epoch"] for line in lines]
    assert curves["auprc"].tolist() == pytest.approx([line["val_metrics"]["auprc"] for line in lines], abs=1e-12)
    with zipfile.ZipFile(io.BytesIO(files[f"{run_id}.zip"])) as archive:
        for name in ("config.yaml", "metrics.jsonl", "provenance.json", "checkpoints/final_model.pt"):
            assert archive.read(f"{run_id}/{name}") == (run_dir / name).read_bytes()
        assert b"python -m ctbench_core train" in archive.read(f"{run_id}/command.txt")
