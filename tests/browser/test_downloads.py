"""Every file that the pages offer, on a store with finished and evaluated runs: each opens and is complete."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg

from ctbench_core.runs import open_run
from tests.browser.app_server import AppServer
from tests.browser.axe import tab_violations
from tests.browser.browser_user import TABS, BrowserUser
from tests.browser.downloads import (
    DEMO_EVALUATIONS,
    check_demo_disclosures,
    read_chart,
    without_disclosures,
)

_CONTENT_TOP = 300  # pixels, of a screen with some 800


def _download_all(user: BrowserUser) -> dict[str, bytes]:
    """Press every visible download button; return the files by name."""
    files = {}
    user.settle()
    buttons = user.page.get_by_test_id("stDownloadButton").get_by_role("button")
    for place in range(buttons.count()):
        with user.page.expect_download() as download:
            buttons.nth(place).click()
        files[download.value.suggested_filename] = Path(download.value.path()).read_bytes()
    return files


def _check_files(user: BrowserUser, files: dict[str, bytes]) -> None:
    """Open every file: tables have rows, charts are drawn without a network, ZIP files are sound."""
    assert files
    for name, content in files.items():
        ending = name.rpartition(".")[2]
        if ending == "csv":
            assert len(pd.read_csv(io.BytesIO(content))), name
        elif ending == "parquet":
            assert len(pd.read_parquet(io.BytesIO(content))), name
        elif ending == "html":
            read_chart(user, content.decode())
        elif ending == "zip":
            assert zipfile.ZipFile(io.BytesIO(content)).testzip() is None
        elif ending == "json":
            assert json.loads(content), name
        elif ending in ("tex", "txt"):
            assert content.decode().strip(), name
        else:
            pytest.fail(f"{name}: no test opens such a file")


def _check_disclosures(files: dict[str, bytes]) -> None:
    """Check that every file of an evaluated test set states evaluations and label origin; four runs evaluated it once."""
    for name, content in files.items():
        if name.endswith(".csv"):
            without_disclosures(pd.read_csv(io.BytesIO(content)), DEMO_EVALUATIONS)
        elif name.endswith(".json"):
            comparison = json.loads(content)
            assert (comparison["openings"], comparison["label_origin"]) == (DEMO_EVALUATIONS, ["unknown"]), name
        elif name.endswith(".zip"):
            _check_disclosures(_members(content))
        elif not name.endswith(".js"):  # the drawing code
            check_demo_disclosures(content.decode())


def _members(archive: bytes) -> dict[str, bytes]:
    """Return the files of a zip by name."""
    with zipfile.ZipFile(io.BytesIO(archive)) as members:
        return {name: members.read(name) for name in members.namelist()}


@pytest.mark.parametrize(
    ("address", "endings"),
    [
        ("evaluate", {"csv", "html", "tex", "txt", "zip"}),
        ("compare", {"csv", "html", "tex", "txt", "json", "zip"}),
        ("alignment", {"csv", "html", "parquet", "zip"}),
    ],
)
def test_every_tab_is_accessible_and_its_files_open(reader: BrowserUser, address: str, endings: set[str]) -> None:
    reader.go(address)
    _, names = TABS[address]
    reader.tabs(address).first.wait_for()
    assert reader.tabs(address).count() == len(names)
    assert reader.page.get_by_role("tabpanel").first.bounding_box()["y"] < _CONTENT_TOP
    files: dict[str, bytes] = {}
    assert tab_violations(reader, address, look=lambda _: files.update(_download_all(reader))) == []
    _check_files(reader, files)
    assert {name.rpartition(".")[2] for name in files} == endings
    if address != "alignment":
        _check_disclosures(files)


def test_the_files_of_a_check_hold_its_counts(
    reader: BrowserUser, demo_runs: tuple[AppServer, dict[str, Path]]
) -> None:
    trained = open_run(demo_runs[1]["mlp 1"]).config.paths
    reader.go("data")
    reader.fill("paths.data_root", trained.data_root)
    reader.fill("paths.manifest_dir", trained.manifest_dir)
    reader.press("check")
    reader.button("prevalence-csv").wait_for()
    files = _download_all(reader)
    for tab in ("co-occurrence", "norms"):
        reader.open_tab("check", tab)
        files |= _download_all(reader)
    _check_files(reader, files)
    tables = {
        part: [pd.read_csv(io.BytesIO(content)) for name, content in files.items() if name.endswith(f"{part}.csv")]
        for part in ("prevalence", "together", "norms")
    }
    (prevalence,), (counts,), (norms,) = tables.values()
    assert set(norms["vectors"]) == {"visual"}  # a check reads the vectors that the head reads
    assert list(counts["finding"]) == list(prevalence["finding"])
    assert (counts.drop(columns="finding").to_numpy().diagonal() > 0).all()


def test_the_files_of_runs_hold_what_is_stored(
    reader: BrowserUser, demo_runs: tuple[AppServer, dict[str, Path]]
) -> None:
    reader.go("runs")
    table = reader.download_table("runs-csv").set_index("run_id")
    for name, run_dir in demo_runs[1].items():
        if name == "align":
            assert run_dir.name not in table.index
            continue
        best = json.loads((run_dir / "best_metrics.json").read_text(encoding="utf-8"))
        assert table.loc[run_dir.name, "val_auprc"] == pytest.approx(best["val_metrics"]["auprc"], abs=1e-12)
        metrics = run_dir / "evaluation" / "test" / "metrics.json"
        if metrics.is_file():
            stored = json.loads(metrics.read_text(encoding="utf-8"))["auprc"]
            assert table.loc[run_dir.name, "test_auprc"] == pytest.approx(stored, abs=1e-12)
        else:
            assert pd.isna(table.loc[run_dir.name, "test_auprc"])  # not evaluated on test


def test_the_files_of_one_run_are_the_stored_ones(
    reader: BrowserUser, demo_runs: tuple[AppServer, dict[str, Path]]
) -> None:
    reader.go("runs")
    reader.button("runs-csv").wait_for()
    reader.select_row(0, "run-card")
    reader.open_tab("run card", "curves")
    files = _download_all(reader)
    _check_files(reader, files)
    run_id = next(name for name in files if name.endswith(".zip")).removesuffix(".zip")
    (run_dir,) = (folder for folder in demo_runs[1].values() if folder.name == run_id)
    curves = pd.read_csv(io.BytesIO(files[f"{run_id}-epochs.csv"]))
    epochs = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert curves["epoch"].tolist() == [epoch["epoch"] for epoch in epochs]
    assert curves["auprc"].tolist() == pytest.approx([epoch["val_metrics"]["auprc"] for epoch in epochs], abs=1e-12)
    with zipfile.ZipFile(io.BytesIO(files[f"{run_id}.zip"])) as archive:
        for name in ("config.yaml", "metrics.jsonl", "provenance.json", "checkpoints/final_model.pt"):
            assert archive.read(f"{run_id}/{name}") == (run_dir / name).read_bytes()
        assert b"python -m ctbench_core train" in archive.read(f"{run_id}/command.txt")


# Hold back the first request for a file after `window.holdNext` is set: a slow line, on which a click arrives late.
_REQUEST = BackMsg(backend_operation_request={}).SerializeToString()[0]
_HOLD = """
const Socket = window.WebSocket;
window.WebSocket = class extends Socket {
  send(data) {
    if (!window.holdNext || data[0] !== TAG) return super.send(data);
    window.holdNext = false;
    window.release = () => super.send(data);
  }
};
"""


def test_a_download_that_is_pressed_while_the_page_is_redrawn_arrives(reader: BrowserUser) -> None:
    reader.page.add_init_script(f"(() => {{const TAG = {_REQUEST};\n{_HOLD}}})()")
    reader.go("compare")
    button = reader.button("forest-auprc-csv")
    button.wait_for()
    reader.page.evaluate(
        """(button) => new Promise((held) => {
          window.holdNext = true;
          button.click();
          const look = () => (window.release ? held() : setTimeout(look, 10));
          look();
        })""",
        button.element_handle(),
    )
    reader.click(reader.segment("compare-metric", 1))
    reader.click(reader.segment("compare-metric", 0))
    with reader.page.expect_download() as download:
        reader.page.evaluate("window.release()")
    assert b"finding" in Path(download.value.path()).read_bytes()
