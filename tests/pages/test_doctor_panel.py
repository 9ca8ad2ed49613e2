"""The Doctor on System shows what the command shows, and unused packed features can be removed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from streamlit.testing.v1 import AppTest

from ctbench_core.config import Config, set_key
from ctbench_core.dataset import pack_features
from ctbench_core.dataset.load import pack_folders
from ctbench_core.doctor import CHECKS
from ctbench_core.experiment import queue_run

Open = Callable[..., AppTest]
Said = Callable[[AppTest], str]


def pack(store: Path, places: dict[str, str]) -> Config:
    """Pack the tiny data in a store."""
    config = Config()
    for key, value in places.items():
        set_key(config, key, value)
    config.paths.outputs_root = str(store)
    pack_features(config)
    return config


def open_system(open_page: Open, fields: dict[str, Any]) -> AppTest:
    """Open System with the packed features expanded."""
    return open_page("system", fields | {"packs": True})


def states(app: AppTest) -> list[str]:
    """Return the states of the packed stores in the table."""
    (table,) = [table.value for table in app.dataframe if "read by" in table.value]
    return [state for (state,) in table["state"]]


def test_the_doctor_shows_every_check(open_page: Open, places: dict[str, str], said: Said) -> None:
    app = open_page("system", places)
    assert "python -m ctbench_core doctor" in said(app)
    app.button(key="doctor").click().run()
    assert not app.exception
    text = said(app)
    for named in CHECKS.values():
        for name in named:
            assert f"**{name}**" in text
    assert "3 findings" in text


def test_a_problem_names_the_fields_of_the_app(data: Path, places: dict[str, str], open_page: Open, said: Said) -> None:
    table = data / "manifests" / "train.csv"
    lines = table.read_text(encoding="utf-8").splitlines()
    lines[1] = f"{lines[1].rpartition(',')[0]},perhaps"
    table.write_text("\n".join(lines), encoding="utf-8")
    app = open_page("system", places)
    assert "The chosen data have errors" in said(app)
    app.button(key="doctor").click().run()
    text = "\n".join(part.value for part in app.markdown)  # the diagnostics keep the keys
    assert "“Label values”" in text and "data.labels.values" not in text.replace("\\", "")


def test_problems_come_first_and_are_in_the_diagnostics(open_page: Open, places: dict[str, str], said: Said) -> None:
    app = open_page("system", places | {"paths.data_root": "gone_*away*", "diagnostics": True})
    app.button(key="doctor").click().run()
    texts = [str(part.value) for part in app.markdown]
    assert "**1 error**" in texts
    assert any("the feature root gone\\_\\*away\\* is not a folder" in text for text in texts)
    content = json.loads(app.code[-1].value)
    (error,) = [finding for finding in content["doctor"] if finding["level"] == "error"]
    assert error["name"] == "Features"


def test_only_unused_stores_are_selected_and_removed(
    store: Path, places: dict[str, str], open_page: Open, data: Path, tmp_path: Path
) -> None:
    used = pack(store, places)
    (data / "features").rename(tmp_path / "moved")
    left = pack(store, places | {"paths.data_root": str(tmp_path / "moved")})
    (tmp_path / "moved").rename(data / "features")
    app = open_system(open_page, places)
    assert not app.exception
    assert sorted(states(app)) == ["unused", "unused", "up to date", "up to date"]
    before = sum(path.stat().st_size for folder in pack_folders(left) for path in folder.iterdir())
    app.button(key="packs-remove-now").click().run()
    assert not app.exception
    assert states(app) == ["up to date", "up to date"]
    assert before > 0
    assert [path.name for folder in pack_folders(left) for path in folder.iterdir()] == ["lock", "lock"]
    assert all((folder / "current.json").is_file() for folder in pack_folders(used))


def test_a_changed_file_is_shown(store: Path, places: dict[str, str], open_page: Open) -> None:
    pack(store, places)
    np.savez(Path(places["paths.data_root"]) / "image" / "train_1_a.npz", np.ones((1, 16), np.float32))
    assert sorted(states(open_system(open_page, places))) == ["outdated", "up to date"]


def test_stores_of_a_queued_run_are_kept(store: Path, places: dict[str, str], open_page: Open, said: Said) -> None:
    config = pack(store, places)
    app = open_system(open_page, {})  # unused, and selected
    assert states(app) == ["unused", "unused"]
    queue_run(config)  # queued before the click
    app.button(key="packs-remove-now").click().run()
    assert states(app) == ["in use", "in use"]
    assert all((folder / "current.json").is_file() for folder in pack_folders(config))


def test_stores_that_another_process_writes_are_kept(
    store: Path, places: dict[str, str], open_page: Open, said: Said
) -> None:
    config = pack(store, places)
    app = open_system(open_page, {})
    with FileLock(pack_folders(config)[0] / "lock"):
        app.button(key="packs-remove-now").click().run()
    assert "is being written by another process" in said(app)
    kept = [(folder / "current.json").is_file() for folder in pack_folders(config)]
    assert kept == [True, False]


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (900, "900 bytes"), (2**20 * 34, "34.0 MiB"), (2**30 * 1.25, "1.2 GiB")]
)
def test_sizes(count: float, text: str) -> None:
    from ctbench_core.formatting import format_bytes

    assert format_bytes(count) == text
