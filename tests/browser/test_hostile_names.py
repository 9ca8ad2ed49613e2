"""Names of findings, columns, groups, runs, tags, tests and reports are text: nothing is loaded or run, all is shown as written.

What the server sends is checked on every page and tab; a browser walks over the pages.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from ctbench_core.alignment import run_alignment
from ctbench_core.config import Config, set_key
from ctbench_core.evaluate import evaluate_run
from ctbench_core.experiment import run_experiment
from ctbench_core.runs import annotate
from ctbench_core.studies import parse_study, run_study
from ctbench_ui.pages import PAGES
from ctbench_ui.shared import datasets
from tests.browser.app_server import PROJECT, AppServer, use_store
from tests.browser.browser_user import BrowserUser

PICTURE = "![x](http://127.0.0.2:9/x.png)"
HTML = "<img src=http://127.0.0.2:9/y.png onerror=alert(1)>"
LATEX = r"$\frac{1}{2}$ :red[hot] **bold** `code` :material/bug_report: :smile:"
FORMULA = '=HYPERLINK("http://127.0.0.2:9/z")'
NAMES = [PICTURE, HTML, LATEX, FORMULA]
# What Markdown, HTML or LaTeX in a name would become, and the widget or text around it.
_RENDERED = "[data-testid=stApp] :is(img[src*='127.0.0.2'], a[href*='127.0.0.2'], .katex, [onerror]), [data-testid=stApp] :is(strong, em):text-is('bold')"
_CONTAINERS = "all => all.map(one => one.closest('[class*=st-key], [data-testid]').outerHTML)"
COLUMN, TEST = f"site {PICTURE}", "![x](y) $a$.csv"
# The same in what the server sends, where it is read as Markdown: a part of a name without the escapes of `as_text`.
_RAW = re.compile(
    r"(?<!\\)(!\[x\]\(http|<img src=http|\$\\frac|:red\[hot|\*\*bold|`code`|:material/bug_report:|:smile:)"
)
_RAW_HTML = re.compile("<img src=http")  # of HTML, which is no Markdown
_FENCED = re.compile(r"(?s)^(`{3,})text\n.*?\n\1$", re.MULTILINE)
# Messages to the browser, and fields of others, whose texts are shown as they are, or not at all.
_PLAIN = {
    "arrow",
    "arrow_data_frame",
    "dataframe",
    "table",
    "plotly_chart",
    "code",
    "text",
    "text_input",
    "text_area",
    "bidi_component",
}
_PLAIN_FIELDS = {
    "options",
    "raw_value",
    "raw_values",
    "id",
    "key",
    "value",
    "url",
    "placeholder",
    "alt",
    "default",
    "string_value",
}


@pytest.fixture(scope="module")
def hostile(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Write a store of runs, an alignment and a study on data whose names are attacks; return it, and ids by page."""
    folder = tmp_path_factory.mktemp("hostile")
    data = Path(shutil.copytree(tiny_data, folder / "data"))
    paths = {"data_root": data / "features", "manifest_dir": data / "manifests", "outputs_root": folder / "outputs"}
    base: dict[str, Any] = {f"paths.{name}": str(path) for name, path in paths.items()}
    base |= {"data.columns.labels": NAMES, "data.test_manifests": [TEST], "training.max_epochs": 2}

    def make_config(changes: dict[str, Any]) -> Config:
        config = Config()
        for name, value in {**base, "data.encoder.name": PICTURE, **changes}.items():
            set_key(config, name, value)
        return config

    for path in sorted((data / "manifests").iterdir()):
        table = pd.read_csv(path)
        table.columns = [*table.columns[:3], *NAMES[:3]]
        table[FORMULA] = table[PICTURE]
        sites, draw = np.array([HTML, LATEX]), np.random.default_rng(0)
        table[COLUMN] = sites[draw.integers(0, 2, len(table))]
        table["Findings_EN"] = [
            f"{PICTURE} {HTML} {LATEX} report number {row // 2} of this patient" for row in range(len(table))
        ]
        table.to_csv(path.with_name(TEST) if path.name == "test.csv" else path, index=False)
    runs = []
    for seed in (1, 2):
        config = make_config({"utils.seed": seed, "logging.run_name": f"{PICTURE} {seed}"})
        runs.append(Path(run_experiment(config)["run_dir"]))
        evaluate_run(runs[-1])
        annotate(runs[-1], tags=[PICTURE, HTML], notes=f"{PICTURE} {HTML} {LATEX}")
    annotate(runs[-1], name=f"{HTML} {PICTURE} {LATEX}")
    aligned = run_alignment(make_config({"data.train_manifest": "valid.csv", "job_name": "align"}))
    grid = {"utils.seed": [1, 2], "model": ["linear_probe", "mlp_visual"]}
    run_study(parse_study({"name": "attack", "base": base, "grid": grid}))
    datasets.save(folder / "outputs", "attacks", make_config({}))
    ids = {
        "evaluate": f"run={runs[0].name}",
        "compare": f"runs={runs[0].name},{runs[1].name}",
        "runs": f"run={runs[0].name}",
    }
    ids |= {"alignment": f"result={Path(aligned['run_dir']).name}", "studies": "study=attack"}
    return folder / "outputs", ids


def _tabs(name: str, ids: dict[str, str]) -> list[tuple[str, str]]:
    """Return the tabs of a page that shows results; of others, what is shown first."""
    tabs = [(key, title) for key, titles in PAGES[name].tabs.items() for title in titles]
    return tabs if name in ids and name != "runs" else [("", "")]


def _marked_texts(message: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text of a message to the browser that is read as Markdown, with the name of its field."""
    for field, value in message.ListFields():
        if field.name in _PLAIN_FIELDS:
            continue
        for part in value if field.is_repeated else [value]:
            if hasattr(part, "ListFields"):
                yield from _marked_texts(part, f"{path}.{field.name}")
            elif isinstance(part, str):
                yield f"{path}.{field.name}", _FENCED.sub("", part)


def _help_texts(columns: str) -> Iterator[tuple[str, str]]:
    """Yield the explanations of a table's columns, which are Markdown."""
    for name, column in json.loads(columns or "{}").items():
        if isinstance(column, dict) and "help" in column:
            yield f"column {name}", column["help"]


def test_no_page_and_no_tab_sends_a_name_as_markdown(
    hostile: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, ids = hostile
    monkeypatch.setenv("CTBENCH_OUTPUTS", str(store))
    monkeypatch.chdir(store.parent)
    raw, shown = [], ""
    for name in PAGES:
        for key, title in _tabs(name, ids):
            app = AppTest.from_file(str(PROJECT / "ctbench_ui" / "main.py"), default_timeout=60).run()
            for part in filter(None, [*ids.get(name, "").split("&"), f"{key}={title}" if key else ""]):
                app.query_params[part.partition("=")[0]] = part.partition("=")[2]
            app.switch_page(f"../pages/{name}.py").run()
            assert not app.exception, (name, key, title)
            for element in app:
                if getattr(element, "proto", None) is None:
                    continue
                is_table = element.type in ("dataframe", "arrow_data_frame")
                texts = _help_texts(element.proto.columns) if is_table else _marked_texts(element.proto, element.type)
                pattern = _RAW_HTML if element.type == "html" else _RAW
                for field, text in texts if is_table or element.type not in _PLAIN else ():
                    raw += [f"{name} {key}={title} {field}: {text}"] if pattern.search(text) else []
                    shown += text.replace("\\", "").replace("\u2060", "")
    assert raw == []
    assert "![x](http://127.0.0.2:9/x.png)" in shown


def test_a_browser_shows_names_as_written_and_asks_nobody_else(
    hostile: tuple[Path, dict[str, str]], shared_server: AppServer, new_user: Callable[[AppServer], BrowserUser]
) -> None:
    store, ids = hostile
    server = use_store(shared_server, store)
    user, dialogs, rendered, shown = new_user(server), [], [], ""
    user.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    for name, page in PAGES.items():
        user.go(f"{'' if page.title == 'ctbench' or name == next(iter(PAGES)) else name}?{ids.get(name, '')}")
        assert user.page.locator("[data-testid=stException]").count() == 0, name
        rendered += [f"{name}: {html}" for html in user.page.locator(_RENDERED).evaluate_all(_CONTAINERS)]
        shown += user.page.locator("[data-testid=stMain]").inner_text().replace("\u2060", "")
    assert rendered == []
    assert dialogs == []
    assert not [address for address in user.requests if not address.startswith((server.url, "data:", "blob:"))]
    for name in NAMES:
        assert name in shown, name
