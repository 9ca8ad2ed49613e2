"""The card of a run: it begins with the metrics, the run is renamed on it, and settings have the titles of the form."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from ctbench_core.config import Config, set_keys
from ctbench_core.evaluate import evaluate_run
from ctbench_core.experiment import run_experiment
from ctbench_core.formatting import format_interval, format_metric
from ctbench_core.runs import (
    loss_error_text,
    named_rows,
    new_status,
    open_run,
    read_metrics,
    write_config,
    write_status,
)
from ctbench_ui.shared import as_text, cache, run_picker, run_table

Open = Callable[..., AppTest]
HOSTILE = "<b>a</b> *b* [c](javascript:1) $d$"


@pytest.fixture(scope="module")
def originals(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Train one recipe with two seeds."""
    keys = {"paths.data_root": str(tiny_data / "features"), "paths.manifest_dir": str(tiny_data / "manifests")}
    keys |= {"paths.outputs_root": str(tmp_path_factory.mktemp("card") / "outputs")}
    size = {"training.max_epochs": 1, "training.batch_size": 16, "model.params.hidden_dims": [8]}
    configs = [set_keys(Config(), {**keys, **size, "utils.seed": seed}) for seed in (1, 2)]
    return [Path(run_experiment(config)["run_dir"]) for config in configs]


@pytest.fixture
def trained(originals: list[Path], store: Path) -> list[Path]:
    """Return a copy of the runs in the store of the app."""
    return [Path(shutil.copytree(folder, store / "train" / folder.name)) for folder in originals]


def card(open_page: Open, folder: Path, **fields: str) -> AppTest:
    app = open_page("runs", fields, {"run": folder.name})
    assert not app.exception
    return app


def headings(app: AppTest) -> list[str]:
    return [header.value for header in app.header]


def metrics_text(app: AppTest) -> str:
    return next(one.value for one in app.markdown if one.value.startswith("| Metric | Validation |"))


def test_a_run_is_renamed_on_its_card_and_has_the_name_everywhere(
    trained: list[Path], open_page: Open, store: Path
) -> None:
    app = card(open_page, trained[0])
    automatic = open_run(trained[0]).name
    app.session_state["card-rename"] = True
    field = app.text_input(key=f"name-{trained[0].name}")
    assert (field.value, field.placeholder) == ("", automatic)
    field.set_value("run of table 2").run()
    assert not app.exception
    assert headings(app)[-1] == "run of table 2"
    assert not app.session_state["card-rename"]  # its box closes
    assert "run of table 2" in list(app.dataframe[0].value["name"])
    app.text_input(key="runs.filter").set_value('name = "run of table 2"').run()
    assert list(app.dataframe[0].value["name"]) == ["run of table 2"]
    assert "run of table 2" in list(run_table.export_frame(pd.DataFrame(cache.run_rows(str(store))))["name"])
    assert any(option.startswith("run of table 2 · ") for option in open_page("evaluate").selectbox(key="run").options)
    app.text_input(key="runs.filter").set_value("").run()
    app.text_input(key=f"name-{trained[0].name}").set_value("").run()
    assert (open_run(trained[0]).name, headings(app)[-1]) == (automatic, "mlp · seed 1")


def test_a_name_is_text_and_not_markdown(trained: list[Path], open_page: Open) -> None:
    app = card(open_page, trained[0])
    app.text_input(key=f"name-{trained[0].name}").set_value(HOSTILE).run()
    assert not app.exception
    assert open_run(trained[0]).name == HOSTILE
    assert r"\<b\>a\</b\> \*b\* \[c\]" in headings(app)[-1] and r"\$d\$" in headings(app)[-1]


def test_a_read_only_link_renames_nothing(trained: list[Path], open_page: Open) -> None:
    app = open_page("runs", query={"run": trained[0].name, "view": "read"})
    assert not app.exception
    assert headings(app) and not [field for field in app.text_input if str(field.key).startswith("name-")]


def test_the_card_begins_with_validation_and_says_that_test_is_not_evaluated(
    trained: list[Path], open_page: Open
) -> None:
    best = open_run(trained[0]).best()["val_metrics"]
    text = metrics_text(card(open_page, trained[0]))
    rows = ["| Metric | Validation | Test |", f"| AUPRC | {format_metric(best['auprc'])} | not evaluated |"]
    assert text.splitlines()[::2] == rows
    assert text.splitlines()[3] == f"| AUROC | {format_metric(best['auroc'])} | not evaluated |"


def test_a_dash_on_the_card_gives_its_reason(
    trained: list[Path], open_page: Open, said: Callable[[AppTest], str]
) -> None:
    evaluate_run(open_run(trained[0]).paths.root)
    file = open_run(trained[0]).paths.evaluation("test").metrics
    content = json.loads(file.read_text(encoding="utf-8"))
    del content["auroc"]
    content["auprc"] = content["macro"]["auprc"]["value"] = None
    file.write_text(json.dumps(content), encoding="utf-8")
    app = card(open_page, trained[0])
    cells = [line.split(" | ")[-1].removesuffix(" |") for line in metrics_text(app).splitlines()]
    assert cells[2:] == ["undefined", "not stored"]
    assert "Undefined: no finding has both positives and negatives." in said(app)
    assert "Not stored: these results are older than this metric." in said(app)


def test_the_card_shows_test_results_with_their_intervals(trained: list[Path], open_page: Open) -> None:
    evaluate_run(open_run(trained[0]).paths.root)
    metrics = read_metrics(open_run(trained[0]).paths.evaluation("test").metrics)
    assert metrics is not None
    app = card(open_page, trained[0])
    cells = [line.split(" | ")[-1].removesuffix(" |") for line in metrics_text(app).splitlines()]
    means = [metrics.macro[key] for key in ("auprc", "auroc")]
    shown = [format_interval(one.value, one.interval.to_list()).replace(" ", "\N{NO-BREAK SPACE}") for one in means]
    assert [cells[0], *cells[2:]] == ["Test", *shown]
    if "[" in shown[0]:
        assert any("95 % CI" in caption.value for caption in app.caption)


def test_settings_have_the_titles_of_the_form_and_their_keys_beside(trained: list[Path], open_page: Open) -> None:
    tables = [table.value for table in card(open_page, trained[0]).table]
    settings = next(table for table in tables if "Setting" in table).set_index("Setting")["Value"]
    shown = {title.partition("  \n")[0]: title for title in settings.index}
    assert settings[shown["Batch size"]] == "16"
    assert settings[shown["Hidden widths"]] == "8"
    assert as_text("training.batch_size") in shown["Batch size"]


def test_a_run_whose_loss_became_nan_offers_clone_and_no_resume(trained: list[Path], open_page: Open) -> None:
    for folder, error in zip(trained, (loss_error_text("training", float("nan"), 1) + " Lower it.", "disk full")):
        write_status(folder / "status.json", open_run(folder).status, state="failed", error=error)
    for page, keys in (("runs", ["card"] * 2), ("home", [f"recent-{folder.name}" for folder in trained])):
        offered = []
        for folder, key in zip(trained, keys):
            app = open_page(page, query={"run": folder.name} if page == "runs" else None)
            assert not app.exception
            known = {str(button.key) for button in app.button}
            offered.append([action for action in ("resume", "clone") if f"{key}-{action}" in known])
        assert offered[0] == ["clone"]
        assert "resume" in offered[1]


def test_a_run_without_an_epoch_has_dashes_for_metrics(trained: list[Path], open_page: Open) -> None:
    for name in ("best_metrics", "metrics"):
        getattr(open_run(trained[0]).paths, name).unlink()
    write_status(trained[0] / "status.json", open_run(trained[0]).status, state="failed", epoch=0, error="nan")
    texts = [part.value for part in card(open_page, trained[0]).markdown]
    table = next(text for text in texts if text.startswith("| Metric"))
    assert {line.split(" | ")[1] for line in table.splitlines()[2:]} == {"–"}


def test_one_run_has_one_name_on_runs_home_and_in_selectors(trained: list[Path], open_page: Open, store: Path) -> None:
    for number in (1, 2):
        shutil.copytree(trained[0], store / "train" / f"again-{number}")
        status = open_run(store / "train" / f"again-{number}").status
        write_status(
            store / "train" / f"again-{number}" / "status.json", status, created=f"2026-03-0{number}T10:00:00+00:00"
        )
    names = {row["name"] for row in named_rows(cache.run_rows(str(store)))}
    assert len(names) == 4
    assert set(open_page("runs").dataframe[0].value["name"]) == names
    assert {link.label for link in open_page("home").get("page_link")} >= names
    options = open_page("evaluate").selectbox(key="run").options
    assert {option.partition(" · val. AUPRC ")[0] for option in options} == names
    assert not [option for option in options if trained[0].name in option]


def test_an_option_names_the_encoder_only_where_several_are_offered() -> None:
    rows = {
        "1": {"name": "mlp", "kind": "train", "val_auprc": 0.5, "encoder": "demo"},
        "2": {"name": "table", "kind": "score", "val_auprc": None, "encoder": "demo"},
    }
    assert list(map(run_picker.titles(rows), rows)) == ["mlp · val. AUPRC .500", "table · predictions"]
    rows["2"]["encoder"] = "other"
    assert run_picker.titles(rows)("1") == "mlp · val. AUPRC .500 · demo"


def test_on_a_phone_the_number_is_in_sight(trained: list[Path], open_page: Open) -> None:
    for page in ("home", "runs"):
        assert [name for name in open_page(page).dataframe[0].value if name != "star"][:2] == ["auprc", "name"]


def test_a_run_of_a_folder_has_the_name_that_it_has_beside_all_others(store: Path) -> None:
    for job, rate in (("train", 1e-3), ("grid", 1e-4)):
        root = store / job / f"of-{job}"
        write_config(root / "config.yaml", set_keys(Config(), {"training.learning_rate": rate}))
        write_status(root / "status.json", new_status("linear"), state="finished")
    names = {row["run_dir"]: row["name"] for row in cache.named(cache.run_rows(store))}
    assert run_picker.names_in(store / "grid") == {"of-grid": names[str(store / "grid" / "of-grid")]}
    assert names[str(store / "grid" / "of-grid")] == "linear · lr 0.0001"


def test_the_metrics_of_findings_come_before_their_curves(trained: list[Path], open_page: Open) -> None:
    app = card(open_page, trained[0], **{"card-tabs": "Curves"})
    table = next(frame.value for frame in app.dataframe if "trace" in frame.value)
    assert list(table) == ["finding", "auprc", "auroc", "trace"]  # a narrow card shows the first two
