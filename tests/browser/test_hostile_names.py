"""Names of findings, columns, groups, runs, tags, tests and reports are text: nothing is loaded or run, all is shown as written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ctbench_core.alignment import run_alignment
from ctbench_core.config import Config
from ctbench_core.evaluate import evaluate_run
from ctbench_core.experiment import run_experiment
from ctbench_core.runs import annotate
from ctbench_core.studies import parse_study, run_study
from ctbench_ui.pages import PAGES
from ctbench_ui.shared import datasets
from tests.browser.app_server import AppServer, use_store
from tests.browser.browser_user import BrowserUser

PICTURE = "![x](http://127.0.0.2:9/x.png)"
HTML = "<img src=http://127.0.0.2:9/y.png onerror=alert(1)>"
LATEX = r"$\frac{1}{2}$ :red[hot] **bold** `code`"
NAMES = [PICTURE, HTML, LATEX]
# What Markdown, HTML or LaTeX in a name would become, and the widget or text around it.
_RENDERED = "[data-testid=stApp] img[src*='127.0.0.2'], .katex, [onerror]"
_CONTAINERS = "all => all.map(one => one.closest('[class*=st-key], [data-testid]').outerHTML)"
COLUMN, TEST = f"site {PICTURE}", "![x](y) $a$.csv"


@pytest.fixture
def hostile(
    shared_server: AppServer, data: Path, make_config: Callable[..., Config], tmp_path: Path
) -> tuple[AppServer, dict[str, str]]:
    """Serve a store of runs, an alignment and a study on data whose names are attacks; return it, and ids by page."""
    for path in sorted((data / "manifests").iterdir()):
        table = pd.read_csv(path)
        table.columns = [*table.columns[:3], *NAMES]
        sites, draw = np.array([HTML, LATEX]), np.random.default_rng(0)
        table[COLUMN] = sites[draw.integers(0, 2, len(table))]
        table["Findings_EN"] = [
            f"{PICTURE} {HTML} {LATEX} report number {row // 2} of this patient" for row in range(len(table))
        ]
        table.to_csv(path.with_name(TEST) if path.name == "test.csv" else path, index=False)
    changes: dict[str, Any] = {
        "data.test_manifests": [TEST],
        "data.columns.labels": NAMES,
        "data.encoder.name": PICTURE,
    }
    runs = []
    for seed in (1, 2):
        config = make_config(data, {**changes, "utils.seed": seed, "logging.run_name": f"{PICTURE} {seed}"})
        runs.append(Path(run_experiment(config)["run_dir"]))
        evaluate_run(runs[-1])
        annotate(runs[-1], tags=[PICTURE, HTML], notes=f"{PICTURE} {HTML} {LATEX}")
    aligned = run_alignment(make_config(data, {**changes, "data.train_manifest": "valid.csv", "job_name": "align"}))
    base = {**_paths(data, tmp_path), "data.columns.labels": NAMES}
    study = {"name": "attack", "base": base, "grid": {"utils.seed": [1, 2], "model": ["linear_probe", "mlp_visual"]}}
    run_study(parse_study(study | {"base": base | {"training.max_epochs": 2, "data.test_manifests": [TEST]}}))
    store = tmp_path / "outputs"
    datasets.save(store, "attacks", make_config(data, changes))
    ids = {
        "evaluate": f"run={runs[0].name}",
        "compare": f"runs={runs[0].name},{runs[1].name}",
        "runs": f"run={runs[0].name}",
    }
    ids |= {"alignment": f"result={Path(aligned['run_dir']).name}", "studies": "study=attack"}
    return use_store(shared_server, store), ids


def _paths(data: Path, tmp_path: Path) -> dict[str, str]:
    folders = {"data_root": data / "features", "manifest_dir": data / "manifests", "outputs_root": tmp_path / "outputs"}
    return {f"paths.{name}": str(folder) for name, folder in folders.items()}


def test_names_are_shown_as_written_on_every_page_and_tab(
    hostile: tuple[AppServer, dict[str, str]], new_user: Callable[[AppServer], BrowserUser]
) -> None:
    server, ids = hostile
    user, dialogs, rendered, shown = new_user(server), [], [], ""
    user.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    for name, page in PAGES.items():
        # All tabs of pages that show results; of others, what is shown first.
        all_tabs = [(key, title) for key, titles in page.tabs.items() for title in titles]
        tabs = all_tabs if name in ids and name != "runs" else [("", "")]
        for key, title in tabs:
            query = "&".join(filter(None, [ids.get(name, ""), f"{key}={title}" if key else ""]))
            user.go(f"{'' if page.title == 'ctbench' or name == next(iter(PAGES)) else name}?{query}")
            where = f"{name} {key}={title}"
            assert user.page.locator("[data-testid=stException]").count() == 0, where
            rendered += [f"{where}: {html}" for html in user.page.locator(_RENDERED).evaluate_all(_CONTAINERS)]
            shown += user.page.locator("[data-testid=stMain]").inner_text().replace("\u2060", "")
    assert rendered == []
    assert dialogs == []
    for name in NAMES:
        assert name in shown, name
