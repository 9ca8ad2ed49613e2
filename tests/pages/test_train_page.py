"""The Train page runs what its form says, writes the same command, and shows errors before a run starts."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from ctbench_core.cli.compose import compose_config
from ctbench_core.config import KEYS, Config, get_key
from ctbench_core.declared import HEADS, LOSSES
from ctbench_core.experiment import run_experiment
from ctbench_core.jobs import get_runner
from ctbench_core.runs import ExpectedTime, open_run
from ctbench_ui.shared import datasets
from ctbench_ui.train import train_form

Open = Callable[..., AppTest]
Said = Callable[[AppTest], str]
ENDLESS = {"training.max_epochs": 100_000, "training.early_stopping_patience": 100_000}
_NUMBERS: dict[str, list[Any]] = {"0.1, 10": [0.1, 10.0], "1, 5": [1, 5]}


def test_a_started_run_has_the_settings_of_the_form(
    small_run: dict[str, Any], open_page: Open, train: Callable[[AppTest], Path], labels: list[str]
) -> None:
    app = open_page("train", small_run | {"training.target_labels": labels[:2], "utils.seed": 5})
    run = open_run(train(app))
    assert run.status.state == "finished"
    assert run.config.model.params.hidden_dims == [8]
    assert run.config.training.target_labels == labels[:2]
    assert run.config.utils.seed == 5
    assert list(run.best()["val_metrics"]["per_class"]) == labels[:2]


@pytest.mark.parametrize(("page", "starts"), [("train", True), ("evaluate", False), ("runs", False)])
def test_train_starts_the_thread_of_jobs_which_loads_torch(
    page: str, starts: bool, small_run: dict[str, Any], open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    monkeypatch.setattr(get_runner(), "start", lambda: started.append(page))
    open_page(page, small_run)
    assert bool(started) == starts


@pytest.mark.parametrize(
    "fields",
    [
        {"model._target_": "logistic"},
        {"model._target_": "knn"},
        {"model._target_": "linear"},
        {"model._target_": "zero_shot", "model.prompts": "prompts.npz"},
        {"model.inputs": "gated"},
    ],
)
def test_every_head_of_the_form_trains(
    small_run: dict[str, Any],
    open_page: Open,
    train: Callable[[AppTest], Path],
    said: Said,
    tmp_path: Path,
    labels: list[str],
    fields: dict[str, str],
) -> None:
    draw = np.random.default_rng(0)
    tables = {kind: draw.normal(size=(len(labels), 1, 16)) for kind in ("positive", "negative")}
    np.savez(tmp_path / "prompts.npz", labels=np.array(labels), **tables)
    app = open_page("train", small_run | fields)
    run = open_run(train(app))
    assert run.status.state == "finished", run.status.error
    for key, value in fields.items():
        assert get_key(run.config, key) == value
    assert not app.error, said(app)


def test_the_name_of_a_run_stands_beside_its_start(small_run: dict[str, Any], open_page: Open) -> None:
    app = open_page("train", small_run)
    assert "logging.run_name" not in {field.key for column in app.columns for field in column.text_input}
    keys = [one.key for one in app.main if getattr(one, "key", None) in ("logging.run_name", "start")]
    assert keys == ["logging.run_name", "start"]


def test_the_live_view_shows_the_best_epoch(
    small_run: dict[str, Any], open_page: Open, train: Callable[[AppTest], Path]
) -> None:
    app = open_page("train", small_run)
    run = open_run(train(app))
    shown = {metric.label: metric.value for metric in app.metric}
    assert shown["Epoch"] == "3 / 3"
    assert shown["Best epoch"] == str(run.best()["epoch"])
    assert float(shown["Validation AUPRC"]) == pytest.approx(run.best()["val_metrics"]["auprc"], abs=5e-4)
    assert len(app.get("bidi_component")) == 1


def test_a_run_that_stopped_early_says_so_with_the_one_time_it_took(
    small_run: dict[str, Any], open_page: Open, train: Callable[[AppTest], Path], said: Said
) -> None:
    settings = {"training.max_epochs": 50, "training.early_stopping_patience": 1, "training.learning_rate": 0.3}
    app = open_page("train", small_run | settings)
    run = open_run(train(app))
    best = run.best()["epoch"]
    text = f"stopped early after epoch {best + 1}, best epoch {best}"
    assert re.search(rf" · took \d:\d\d · {text}$", said(app), re.M)
    assert "Time" not in {metric.label for metric in app.metric}
    assert f"{text.capitalize()}." in said(open_page("runs", query={"run": run.run_id}))


def test_another_session_finds_the_run_by_its_address(
    small_run: dict[str, Any], open_page: Open, train: Callable[[AppTest], Path]
) -> None:
    folder = train(open_page("train", small_run))
    later = open_page("train", query={"train_run": folder.name})
    assert folder.name in "".join(caption.value for caption in later.caption)


def test_the_findings_of_the_label_study_are_offered_where_the_data_have_them() -> None:
    study = list(train_form._LABEL_STUDY)
    assert train_form._finding_choices([*study, "Hernia"]) == {"All 6": [], "5 findings (label study)": study}
    assert list(train_form._finding_choices(study[1:])) == ["All 4"]


def test_a_session_that_opens_data_and_train_sets_nothing(
    store: Path, open_page: Open, said: Said, make_config: Callable[..., Config], data: Path
) -> None:
    datasets.save(store, "mine", make_config(data, {}))
    for _ in range(2):
        for page in ("data", "train"):
            app = open_page(page)
            assert not app.exception
        assert "Default settings, data set mine" in said(app)
    assert not list(store.glob(".form*"))


def test_a_new_session_begins_with_what_was_set_last_here_and_says_so(
    small_run: dict[str, Any], open_page: Open, said: Said, make_config: Callable[..., Config], data: Path
) -> None:
    run_experiment(make_config(data, {"training.max_epochs": 2, "utils.seed": 9, "data.budget": 20}))  # command line
    first = open_page("train")
    assert "Default settings" in said(first)
    assert first.number_input(key="utils.seed").value == 42
    assert "data.budget" not in first.session_state
    open_page("train", small_run)
    later = open_page("train")
    assert later.number_input(key="training.max_epochs").value == 3
    assert later.text_input(key="model.params.hidden_dims").value == "8"
    assert later.number_input(key="utils.seed").value == 42
    assert "Settings of this browser's last session" in said(later)
    later.number_input(key="training.batch_size").set_value(48).run()
    assert "Settings of this browser's last session, changed" in said(later)
    later.button(key="train.reset").click().run()
    assert not later.exception
    assert later.number_input(key="training.batch_size").value == 64
    assert "Default settings" in said(later)
    assert "changed" not in said(later)


def drawn(app: AppTest) -> set[str]:
    """Return the config keys that a page shows as fields."""
    kinds = ("text_input", "number_input", "selectbox", "multiselect", "toggle", "segmented_control")
    return {field.key for kind in kinds for field in app.get(kind)} & set(KEYS)


def test_every_head_and_loss_shows_its_own_fields_and_no_others(small_run: dict[str, Any], open_page: Open) -> None:
    app = open_page("train", small_run)
    for name, head in HEADS.items():
        app.selectbox(key="model._target_").set_value(name).run()
        others = {key for other in HEADS.values() for key in other.own_keys if key not in head.own_keys}
        assert set(head.own_keys) <= drawn(app)
        assert not others & drawn(app)
    app.selectbox(key="model._target_").set_value("mlp").run()
    options = app.selectbox(key="training.loss._target_").options
    assert [title for title in options if title not in {loss.title for loss in LOSSES.values()}] == []
    for name, loss in LOSSES.items():
        app.selectbox(key="training.loss._target_").set_value(loss.aliases[0] if loss.aliases else name).run()
        own = {f"training.loss.{parameter}" for parameter in loss.parameters}
        everyones = {f"training.loss.{p}" for other in LOSSES.values() for p in other.parameters}
        assert everyones & drawn(app) == own


def test_what_a_head_refuses_is_said_with_the_controls_to_change(
    small_run: dict[str, Any], open_page: Open, said: Said
) -> None:
    app = open_page("train", small_run | {"training.loss._target_": "focal", "model._target_": "knn"})
    assert "“Loss” = Focal has no effect. Set “Loss” = BCE" in said(app)
    assert app.button(key="start").disabled
    loss = app.selectbox(key="training.loss._target_")
    assert not loss.disabled
    loss.set_value("torch.nn.BCEWithLogitsLoss").run()
    assert not app.error, said(app)
    assert app.selectbox(key="training.loss._target_").disabled
    app.selectbox(key="model.inputs").set_value("gated").run()
    assert "“Inputs” = gated needs a head that learns the gate" in said(app)


def test_the_number_of_parameters_follows_the_widths(small_run: dict[str, Any], open_page: Open) -> None:
    app = open_page("train", small_run)
    count = {metric.label: metric.value for metric in app.metric}["Parameters"]
    assert count == f"{16 * 8 + 8 + 8 * 3 + 3:,}"
    app.text_input(key="model.params.hidden_dims").set_value("8, 4").run()
    count = {metric.label: metric.value for metric in app.metric}["Parameters"]
    assert count == f"{16 * 8 + 8 + 8 * 4 + 4 + 4 * 3 + 3:,}"


def test_the_command_line_means_the_same_config(small_run: dict[str, Any], open_page: Open, store: Path) -> None:
    chosen = {"training.target_labels": ["Lung nodule", "Lung opacity"], "train.command": True}
    app = open_page("train", small_run | chosen)
    command = shlex.split(app.code[0].value)
    assert command[:4] == ["python", "-m", "ctbench_core", "train"]
    config = compose_config(command[4:], job_name="train").config
    assert config.training.target_labels == ["Lung nodule", "Lung opacity"]
    assert config.model.params.hidden_dims == [8]
    assert config.training.learning_rate == 1e-2
    assert config.paths.outputs_root == str(store)


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("model.params.hidden_dims", "8, wide", "“Hidden widths” is '8, wide'"),
        ("training.learning_rate", -1.0, "“Learning rate” is -1.0"),
        ("model.params.dropout", 1.5, "“Dropout” is 1.5"),
    ],
)
def test_a_bad_setting_is_named_and_nothing_starts(
    key: str, value: Any, named: str, small_run: dict[str, Any], open_page: Open, said: Said, store: Path
) -> None:
    app = open_page("train", small_run | {key: value})
    assert not app.exception
    assert named in said(app)
    assert app.button(key="start").disabled
    assert not list(store.glob("train/*"))


def test_a_manifest_that_went_missing_is_named_and_nothing_starts(
    small_run: dict[str, Any], data: Path, open_page: Open, said: Said, store: Path
) -> None:
    (data / "manifests" / "train.csv").unlink()
    app = open_page("train", small_run)
    app.button(key="start").click().run()
    assert not app.exception
    assert "train.csv does not exist" in said(app)
    assert not list(store.glob("train/*"))


def test_a_run_that_fails_says_why(
    small_run: dict[str, Any], data: Path, open_page: Open, said: Said, train: Callable[[AppTest], Path]
) -> None:
    (data / "features" / "image" / "train_3_a.npz").write_bytes(b"no archive")
    app = open_page("train", small_run)
    folder = train(app)
    assert open_run(folder).status.state == "failed"
    assert "train_3_a.npz" in said(app)
    assert not app.exception


def test_a_linear_head_has_no_hidden_widths(small_run: dict[str, Any], open_page: Open) -> None:
    app = open_page("train", small_run)
    app.selectbox(key="model._target_").set_value("linear").run()
    count = {metric.label: metric.value for metric in app.metric}["Parameters"]
    assert count == f"{16 * 3 + 3}"
    assert "model.params.hidden_dims" not in {field.key for field in app.text_input}


@pytest.mark.parametrize(
    ("chosen", "shown", "parameters"),
    [
        ({"model._target_": "logistic", "model.params.c": "0.1, 10"}, "model.params.c", f"{16 * 3 + 3}"),
        ({"model._target_": "knn", "model.params.k": "1, 5"}, "model.params.k", "0"),
        ({"model._target_": "zero_shot", "model.prompts": "prompts.npz"}, "model.prompts", "0"),
        (
            {"model._target_": "mlp", "model.inputs": "gated"},
            "model.params.gate",
            f"{2 * (16 * 8 + 8) + 32 + 1 + 8 * 3 + 3}",
        ),
    ],
)
def test_a_head_shows_its_own_settings(
    chosen: dict[str, str], shown: str, parameters: str, small_run: dict[str, Any], open_page: Open
) -> None:
    app = open_page("train", small_run | chosen | {"train.command": True})
    assert not app.exception
    assert shown in {field.key for kind in (app.text_input, app.selectbox, app.segmented_control) for field in kind}
    assert {metric.label: metric.value for metric in app.metric}["Parameters"] == parameters
    config = compose_config(shlex.split(app.code[0].value)[4:], job_name="train").config
    values = {key: get_key(config, key) for key in chosen}
    assert values == chosen | {key: _NUMBERS[value] for key, value in chosen.items() if value in _NUMBERS}


def _end_all(store: Path) -> None:
    runner = get_runner()
    for status in store.glob("train/*/status.json"):
        runner.cancel(status.parent)
        assert runner.wait(status.parent, 30)


def test_a_second_run_waits_and_can_be_cancelled(small_run: dict[str, Any], open_page: Open, store: Path) -> None:
    app = open_page("train", small_run | ENDLESS)
    app.button(key="start").click().run()
    app.session_state["train.form"] = True
    app.run()
    app.button(key="start").click().run()
    folders = {status.parent for status in store.glob("train/*/status.json")}
    assert len(folders) == 2, [error.value for error in app.error]
    app.button(key="stop").click().run()
    app.switch_page("../pages/runs.py").run()
    assert not app.exception
    _end_all(store)
    assert {open_run(folder).status.state for folder in folders} == {"cancelled"}


def test_settings_of_an_older_version_are_understood(small_run: dict[str, Any], open_page: Open) -> None:
    app = open_page("train", small_run | {"model._target_": "classification.models.mlp.MLP"})
    assert not app.exception
    assert app.selectbox(key="model._target_").value == "mlp"


def test_a_preset_sets_its_keys_and_leaves_the_others(small_run: dict[str, Any], open_page: Open) -> None:
    app = open_page("train", small_run)
    app.get("menu_button")[0].set_value("MLP 512-256, fast").run()
    assert not app.exception
    assert app.text_input(key="model.params.hidden_dims").value == "512, 256"
    assert app.number_input(key="training.max_epochs").value == 200
    assert app.number_input(key="training.batch_size").value == 16


def test_a_head_brings_its_defaults_and_takes_them_away(open_page: Open, small_run: dict[str, Any], said: Said) -> None:
    own = HEADS["linear"].defaults
    untouched = {key: value for key, value in small_run.items() if key not in own}
    app = open_page("train", untouched)
    app.selectbox(key="model._target_").set_value("linear").run()
    assert {key: app.session_state[key] for key in own} == own
    app.selectbox(key="model._target_").set_value("mlp").run()
    assert {key: app.session_state[key] for key in own} == {key: KEYS[key].default for key in own}
    app.number_input(key="training.learning_rate").set_value(0.5).run()
    app.selectbox(key="model._target_").set_value("linear").run()
    assert app.session_state["training.learning_rate"] == 0.5
    assert app.session_state["data.standardise"] == own["data.standardise"]
    app.get("menu_button")[0].set_value("MLP 1024").run()
    assert app.session_state["data.standardise"] == KEYS["data.standardise"].default


def test_fields_keep_their_values_between_pages_and_sessions(small_run: dict[str, Any], open_page: Open) -> None:
    app = open_page("train", small_run)
    app.number_input(key="training.batch_size").set_value(48).run()
    app.text_input(key="model.params.hidden_dims").set_value("12, 6").run()
    app.switch_page("../pages/data.py").run()
    app.switch_page("../pages/train.py").run()
    assert app.number_input(key="training.batch_size").value == 48
    later = open_page("train")
    assert later.number_input(key="training.batch_size").value == 48
    assert later.text_input(key="model.params.hidden_dims").value == "12, 6"


def test_the_named_findings_show_which_is_chosen(small_run: dict[str, Any], open_page: Open) -> None:
    app = open_page("train", small_run)
    assert app.session_state["train.findings"] == "All 3"
    app.multiselect(key="training.target_labels").set_value(["Emphysema"]).run()
    assert app.session_state["train.findings"] is None


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ((400.0, 3.0, 38, 5, True), "Up to 7 min; about 3 s if it stops after 38 epochs, like the last 5 MLP runs "),
        ((400.0, 3.0, 1, 1, False), "Up to 7 min; about 3 s if it stops after 1 epoch, like the last run "),
        ((40.0, 40.0, 500, 2, True), "Up to 40 s, at the pace of the last 2 MLP runs "),
        ((0.01, 0.01, 1, 1, True), "Up to 1 s, at the pace of the last MLP run "),
    ],
)
def test_the_expected_time_is_a_limit_and_a_guess(expected: tuple[Any, ...], text: str) -> None:
    assert train_form.describe_time(ExpectedTime(*expected), "mlp") == f"{text}on these features."


def test_the_form_expects_the_time_of_its_own_max_epochs(
    small_run: dict[str, Any], open_page: Open, train: Callable[[AppTest], Path], said: Said
) -> None:
    train(open_page("train", small_run))
    app = open_page("train", small_run | {"training.max_epochs": 3_000_000})
    limit = re.search(r"Up to (\d+) (?:min|h|days), at the pace of the last MLP run", said(app))
    assert limit and int(limit[1]) > 1  # minutes or more, where the earlier run took a second


def test_the_form_folds_when_its_run_starts_and_can_be_opened_beside_it(
    small_run: dict[str, Any], open_page: Open, store: Path, said: Said
) -> None:
    app = open_page("train", small_run | ENDLESS)
    app.button(key="start").click().run()
    assert not drawn(app)
    assert app.button(key="stop")
    assert "Default settings" not in said(app)
    app.session_state["train.form"] = True
    app.run()
    assert app.number_input(key="training.batch_size").value == 16
    app.number_input(key="utils.seed").set_value(7).run()
    app.button(key="start").click().run()
    assert app.number_input(key="utils.seed").value == 7  # another run waits: its form stays for the next
    assert len(list(store.glob("train/*/status.json"))) == 2
    app.switch_page("../pages/runs.py").run()
    app.switch_page("../pages/train.py").run()
    assert not drawn(app)  # its run trains
    _end_all(store)


def test_the_form_is_open_again_when_the_page_is_opened_after_the_run_has_ended(
    small_run: dict[str, Any], open_page: Open, train: Callable[[AppTest], Path]
) -> None:
    app = open_page("train", small_run)
    train(app)
    assert not drawn(app)  # the curves stay where they are
    app.switch_page("../pages/runs.py").run()
    app.query_params.clear()  # as a browser does
    app.switch_page("../pages/train.py").run()
    assert "training.batch_size" in drawn(app)
    assert app.button(key="to-evaluate")


def test_every_number_on_the_form_has_a_usual_range_or_bound(small_run: dict[str, Any], open_page: Open) -> None:
    app = open_page("train", small_run)
    assert app.number_input
    for number in app.number_input:
        assert number.help
    usual = [number.key for number in app.number_input if "Usual:" in number.help]
    assert {"training.learning_rate", "training.batch_size", "model.params.dropout"} <= set(usual)


def test_a_budget_says_what_it_leaves_for_validation_and_offers_the_loss(
    open_page: Open, small_run: dict[str, Any], said: Said, data: Path
) -> None:
    rows = pd.read_csv(data / "manifests" / "valid.csv")
    labels = list(rows.columns[3:])
    app = open_page("train", {**small_run, "data.budget": 20})
    assert not app.exception
    assert re.search(r"Budget: 20 patients \(\d+ training, \d+ validation\)", said(app))
    assert "monitor-loss" not in {button.key for button in app.button}
    assert "without a positive in training" not in said(app)
    learned = pd.read_csv(data / "manifests" / "train.csv")
    learned.assign(**{labels[0]: 0}).to_csv(data / "manifests" / "train.csv", index=False)
    app = open_page("train", {**small_run, "data.budget": 20})
    assert "1 finding without a positive in training cannot be learned" in said(app)
    learned.to_csv(data / "manifests" / "train.csv", index=False)
    rows[labels] = 0  # no validation volume has a finding
    rows.to_csv(data / "manifests" / "valid.csv", index=False)
    app = open_page("train", {**small_run, "data.budget": 20})
    assert "No finding has both positives and negatives" in said(app)
    app.button(key="monitor-loss").click().run()
    assert app.session_state["training.monitor"] == "loss"
    assert f"positives and negatives for 0 of {len(labels)} findings" in said(app)
    app.session_state["data.budget"] = None
    assert "Budget: 20" not in said(app.run())
