"""System shows the machine over the last ten minutes, the end of the log, and folders with their sizes."""

from __future__ import annotations

import html
import json
import logging
import re
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

import ctbench_core
from ctbench_core.config import Config
from ctbench_core.runs import RunPaths, delete_run, deleted_in, new_status, open_run, write_config, write_status
from ctbench_ui.shared import meters

Open = Callable[..., AppTest]
Said = Callable[[AppTest], str]


@pytest.fixture
def history(monkeypatch: pytest.MonkeyPatch) -> Iterator[meters.Meters]:
    """Return the meters that the page shows, without samples and lines."""
    own = meters.Meters()
    monkeypatch.setattr(meters, "_meters", own)
    yield own
    own.stop()


def test_the_machine_is_drawn_over_time(history: meters.Meters, open_page: Open) -> None:
    start = datetime(2026, 11, 25, tzinfo=UTC)
    shares = [0.25, 0.5, 0.75]
    for place, share in enumerate(shares):
        history.samples.append({"time": start + timedelta(seconds=5 * place), "processors": share, "memory": 0.5})
    app = open_page("system")
    assert not app.exception
    (sent,) = (json.loads(one.proto.json) for one in app.get("bidi_component"))
    assert (sent["along"], sent["isTime"]) == ([start.timestamp() + 5 * place for place in range(3)], True)
    (panel,) = sent["panels"]
    assert panel["isShare"]
    assert {line["name"]: line["values"] for line in panel["lines"]} == {"processors": shares, "memory": [0.5] * 3}


def test_ten_minutes_are_kept(history: meters.Meters) -> None:
    for place in range(1000):
        history.samples.append({"place": place})
    assert len(history.samples) * history.every_s == 600
    assert history.samples[-1] == {"place": 999}


def test_a_sample_is_of_shares() -> None:
    shares = [value for name, value in meters.sample().items() if name != "time"]
    assert len(shares) >= 2
    assert all(0 <= share <= 1 for share in shares)


def test_the_thread_samples_until_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    sampled = threading.Event()

    def sample() -> dict[str, Any]:
        sampled.set()
        return {"memory": 0.5}

    monkeypatch.setattr(meters, "sample", sample)
    own = meters.Meters(every_s=0.01)
    own.start()
    assert sampled.wait(10)
    own.stop()
    assert {"memory": 0.5} in own.samples
    assert "ctbench-meters" not in {thread.name for thread in threading.enumerate() if thread.is_alive()}


def test_what_is_logged_is_shown(history: meters.Meters, open_page: Open, said: Said) -> None:
    assert "Nothing logged" in said(open_page("system"))
    history.start()
    logging.getLogger("ctbench_core.jobs.runner").warning("%s failed", "20261125T010000Z-abcdef")
    text = said(open_page("system"))
    assert "WARNING 20261125T010000Z-abcdef failed" in text
    assert "Nothing logged" not in text


def test_the_packed_features_are_shown_with_their_size(store: Path, open_page: Open) -> None:
    (store / ".packed" / "features").mkdir(parents=True)
    (store / ".packed" / "features" / "a.f32").write_bytes(bytes(3 * 2**20))
    app = open_page("system")
    assert not app.exception
    folders = _folders(app)
    assert folders["run store"] == f"{store.resolve()} (0 runs)"
    assert folders["packed features"] == f"{(store / '.packed').resolve()} (3.0 MiB)"


@pytest.fixture
def deleted(store: Path) -> list[Path]:
    """Delete two runs, and return their places in the trash."""
    places = []
    for name in ("one", "two"):
        paths = RunPaths(store / "train" / name)
        write_config(paths.config, Config())
        write_status(paths.status, new_status(f"run {name}", max_epochs=1), state="finished")
        places.append(delete_run(store, open_run(paths.root)))
    return places


def test_a_deleted_run_is_restored_in_a_later_session(deleted: list[Path], store: Path, open_page: Open) -> None:
    assert len(deleted_in(store)) == 2
    app = open_deleted(open_page, store, [1])
    table = next(one.value for one in app.dataframe if "home" in one.value)
    assert list(table["name"]) == ["run two", "run one"]
    assert list(table["home"]) == ["train/two", "train/one"]
    assert table["deleted"].notna().all()
    app.button(key="deleted-restore").click().run()
    assert not app.exception
    assert (store / "train" / "one" / "status.json").is_file()
    assert [one.name for one in deleted_in(store)] == ["run two"]


def test_the_box_of_what_was_deleted_is_open_where_an_address_asks_for_it(deleted: list[Path], open_page: Open) -> None:
    assert not any("home" in one.value for one in open_page("system").dataframe)
    app = open_page("system", query={"system.open": "deleted"})
    assert not app.exception and any("home" in one.value for one in app.dataframe)


def test_a_deleted_run_is_deleted_for_good(deleted: list[Path], store: Path, open_page: Open) -> None:
    app = open_deleted(open_page, store, [0])
    app.button(key="deleted-remove-now").click().run()
    assert not app.exception
    assert [one.name for one in deleted_in(store)] == ["run one"]
    app.button(key="empty-trash").click().run()
    assert not app.exception
    assert deleted_in(store) == []
    assert not any(store.glob("train/*"))


def test_a_run_whose_place_is_taken_is_not_restored_and_the_reason_is_shown(
    deleted: list[Path], store: Path, open_page: Open, said: Said
) -> None:
    (store / "train" / "one").mkdir()
    app = open_deleted(open_page, store, [1])
    app.button(key="deleted-restore").click().run()
    assert not app.exception
    assert "exists again" in said(app)
    assert len(deleted_in(store)) == 2


def open_deleted(open_page: Open, store: Path, rows: list[int]) -> AppTest:
    """Open the list of what was deleted, with rows selected."""
    app = open_page("system", {"deleted": True})
    assert not app.exception
    places = tuple(str(one.place) for one in deleted_in(store))
    chosen = {"selection": {"rows": rows, "columns": [], "cells": []}}
    app.session_state[f"deleted-rows-{hash(places) & 0xFFFFFFFF:x}"] = chosen
    return app.run()


def test_the_doctor_comes_first(open_page: Open) -> None:
    assert open_page("system").header[0].value == "Doctor"


def test_what_was_deleted_comes_before_the_versions(open_page: Open) -> None:
    app = open_page("system")
    parts = [getattr(part, "label", "") or getattr(part, "value", "") for part in app.main]
    assert parts.index("Deleted · nothing") < parts.index("Versions")


def test_runs_are_counted_as_runs_counts_them(store: Path, open_page: Open) -> None:
    for kind, name in (("train", "one"), ("train", "two"), ("align", "three")):
        paths = RunPaths(store / kind / name)
        write_config(paths.config, Config())
        write_status(paths.status, new_status(name, kind=kind, max_epochs=1), state="finished")
    app = open_page("system")
    assert _folders(app)["run store"] == f"{store.resolve()} (2 runs, 1 alignment)"
    assert "2 of 2 runs" in str([part.value for part in open_page("runs").caption])


def test_the_trash_says_how_much_it_holds(store: Path, open_page: Open) -> None:
    assert "Deleted · nothing" in _expanders(open_page("system"))


def test_the_trash_counts_its_items(deleted: list[Path], open_page: Open) -> None:
    (title,) = [text for text in _expanders(open_page("system")) if text.startswith("Deleted")]
    assert title.startswith("Deleted · 2 items, ")


def _expanders(app: AppTest) -> list[str]:
    return [box.label for box in app.expander]


def _folders(app: AppTest) -> dict[str, str]:
    """Return the paths of the table of folders by their names."""
    return dict(_tables(app)["Folders"][1:])


def _tables(app: AppTest) -> dict[str, list[list[str]]]:
    """Return the cells of the tables of the page by the names that a screen reader says."""
    bodies = (str(part.proto.body) for part in app.get("html"))
    return {
        name: [
            [html.unescape(cell) for cell in re.findall("<t[hd].*?>(.*?)</t[hd]>", row)]
            for row in re.findall("<tr>(.*?)</tr>", body)
        ]
        for body in bodies
        for name in re.findall('<table [^>]*aria-label="(.*?)"', body)
    }


def test_tables_have_names_for_a_screen_reader(open_page: Open) -> None:
    tables = _tables(open_page("system"))
    assert [rows[0] for rows in tables.values()] == [["Package", "Version"], ["Folder", "Path"]]
    assert ["ctbench", ctbench_core.__version__] in tables["Versions"]


def test_names_of_folders_are_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_page: Open) -> None:
    folder = tmp_path / "<b>runs & more"
    folder.mkdir()
    monkeypatch.chdir(folder)
    app = open_page("system")
    assert _folders(app)["started in"] == str(folder)
    assert not [part for part in app.get("html") if "<b>runs" in str(part.proto.body)]


def test_the_diagnostics_are_made_when_they_are_opened(open_page: Open) -> None:
    assert not [one for one in open_page("system").code if '"versions"' in one.value]
    (shown,) = [one for one in open_page("system", {"diagnostics": True}).code if '"versions"' in one.value]
    assert json.loads(shown.value)["versions"]["ctbench"]
