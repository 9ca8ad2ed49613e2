"""The form and the config agree, and data sets keep their keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import streamlit as st

from ctbench_core.config import KEYS, Config, changed_keys, get_key, set_key
from ctbench_core.errors import ConfigError, InputError
from ctbench_ui import form
from ctbench_ui.form import browser
from ctbench_ui.shared import datasets


@pytest.fixture(autouse=True)
def session(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Put a plain dict in the place of the session."""
    state: dict[str, Any] = {}
    monkeypatch.setattr(st, "session_state", state)
    monkeypatch.setenv("CTBENCH_OUTPUTS", "outputs")
    return state


def test_defaults_come_back_as_defaults() -> None:
    form.fill(Config())
    assert form.config() == Config()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model.params.hidden_dims", [1024, 512]),
        ("model.params.hidden_dims", []),
        ("analysis.k", [1, 3]),
        ("training.target_labels", ["Lung nodule", "Lung opacity"]),
        ("data.test_manifests", ["test.csv"]),
        ("data.cohort.exclude", "left out.txt"),
        ("training.loss.pos_weight", "none"),
        ("utils.device", "cpu"),
    ],
)
def test_a_value_survives_the_form(key: str, value: Any) -> None:
    config = Config()
    set_key(config, key, value)
    form.fill(config)
    assert get_key(form.config(), key) == value


def test_an_invalid_value_is_named(session: dict[str, Any]) -> None:
    session["training.batch_size"] = 0
    with pytest.raises(ConfigError, match=r"training\.batch_size is 0"):
        form.config()


def test_widths_that_are_not_numbers_are_named(session: dict[str, Any]) -> None:
    session["model.params.hidden_dims"] = "wide"
    with pytest.raises(ConfigError, match="hidden_dims is 'wide'"):
        form.config()


def test_a_data_set_keeps_its_data_keys_and_no_others(tmp_path: Path) -> None:
    config = Config()
    config.paths.data_root, config.data.cohort.recon, config.training.batch_size = "features", "first", 7
    path = datasets.save(tmp_path, "mine", config)
    assert path.read_text(encoding="utf-8").startswith("format: 1\n")
    path.write_text(path.read_text(encoding="utf-8").removeprefix("format: 1\n"), encoding="utf-8")  # of an old store
    loaded = datasets.load(tmp_path, "mine")
    assert (loaded.paths.data_root, loaded.data.cohort.recon) == ("features", "first")
    assert loaded.training.batch_size == KEYS["training.batch_size"].default
    assert datasets.name_of(tmp_path, config) == "mine"
    config.data.cohort.recon = "all"
    assert datasets.name_of(tmp_path, config) is None


@pytest.mark.parametrize("name", ["", "../up", "a/b", "a\\b", ".hidden", "dot.", "x" * 65])
def test_names_that_could_leave_the_folder_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot name a data set"):
        datasets.save(tmp_path, name, Config())


def test_a_damaged_data_set_is_named(tmp_path: Path) -> None:
    path = tmp_path / datasets.FOLDER / "bad.yaml"
    path.parent.mkdir()
    path.write_text("- a list\n")
    with pytest.raises(InputError, match=r"bad\.yaml should hold keys"):
        datasets.load(tmp_path, "bad")


def test_a_new_session_begins_with_what_was_set_last(
    session: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CTBENCH_OUTPUTS", str(tmp_path))
    form.fill(Config())
    form.save()
    assert not list(tmp_path.iterdir())  # nothing has changed yet
    form.set_fields({"training.batch_size": 7, "model.params.hidden_dims": [8, 4]})
    form.save()
    other: dict[str, Any] = {}
    monkeypatch.setattr(st, "session_state", other)
    form.restore()
    assert form.config().training.batch_size == 7
    assert form.config().model.params.hidden_dims == [8, 4]


def test_a_new_session_has_neither_the_name_nor_the_folder_of_the_last_run(
    session: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CTBENCH_OUTPUTS", str(tmp_path))
    form.restore()
    assert form.settings_source() == "Default settings"
    changed = {"logging.run_name": "mine", "paths.run_dir": "a", "logging.group": "g", "data.budget": 20}
    form.set_fields(changed | {"training.loss.gamma": 3.0, "training.loss.pos_weight": "1, 2.5"})
    form.save()
    assert form.settings_source() == "Default settings, changed"
    monkeypatch.setattr(st, "session_state", {})
    form.restore()
    assert form.settings_source() == "Settings of this browser's last session"
    expected = {
        "logging.group": "g",
        "data.budget": 20,
        "training.loss.gamma": 3.0,
        "training.loss.pos_weight": [1, 2.5],
    }
    found = {name: value for name, value in changed_keys(form.config()).items() if not name.startswith("paths.")}
    assert found == expected
    form.save()
    assert form.settings_source() == "Settings of this browser's last session"  # nothing has changed


def test_a_data_set_keeps_its_name_whatever_the_head(
    session: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CTBENCH_OUTPUTS", str(tmp_path))
    form.set_fields({"paths.data_root": "features", "model._target_": "mlp"})
    form.save_dataset("mine")
    form.set_fields({"model._target_": "linear"})
    form.apply_head_defaults()
    assert form.config().data.standardise == "zscore"
    assert form.dataset_name() == "mine"
    form.open_dataset("mine")
    assert form.config().data.standardise == "zscore"
    form.set_fields({"data.pool": "mean"})
    assert form.dataset_name() is None


def test_a_damaged_file_of_settings_means_defaults(
    session: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CTBENCH_OUTPUTS", str(tmp_path))
    (tmp_path / ".form.yaml").write_text("- a list")
    form.restore()
    assert form.settings_source() == "Default settings"
    assert form.config().training == Config().training


def test_two_sessions_do_not_change_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CTBENCH_OUTPUTS", str(tmp_path))
    first: dict[str, Any] = {}
    second: dict[str, Any] = {}
    for state, size in ((first, 7), (second, 9), (first, 7)):
        monkeypatch.setattr(st, "session_state", state)
        form.restore()
        form.save()
        form.set_fields({"training.batch_size": size})
        form.save()
    assert (first["training.batch_size"], second["training.batch_size"]) == (7, 9)


def test_an_invalid_field_is_not_saved(
    session: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CTBENCH_OUTPUTS", str(tmp_path))
    form.fill(Config())
    form.save()
    session["training.batch_size"] = 0
    form.save()
    assert not list(tmp_path.iterdir())


def test_a_url_with_a_secret_is_saved_nowhere(
    session: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CTBENCH_OUTPUTS", str(tmp_path))
    form.fill(Config())
    form.save()
    session["paths.data_root"] = "s3://user:secret@bucket/features"
    form.save()
    with pytest.raises(ConfigError, match="would be stored with every run"):
        form.save_dataset("lab")
    assert not list(tmp_path.iterdir())


def test_each_browser_begins_with_its_own_settings_and_a_new_one_with_defaults_and_the_last_data_set(
    session: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CTBENCH_OUTPUTS", str(tmp_path))
    cookies = {"ctbench_browser": "a" * 32}
    monkeypatch.setattr(type(st.context), "cookies", property(lambda _: cookies))

    def begin(browser: str) -> None:
        cookies["ctbench_browser"] = browser * 32
        monkeypatch.setattr(st, "session_state", {})
        form.restore()

    begin("a")
    form.set_fields({"training.batch_size": 7, "paths.data_root": "features"})
    form.save()
    form.save_dataset("mine")
    begin("b")
    assert form.settings_source() == "Default settings, data set mine"
    assert (form.config().training.batch_size, form.config().paths.data_root) == (64, "features")
    form.set_fields({"training.batch_size": 9})
    form.save()
    begin("a")
    assert form.settings_source() == "Settings of this browser's last session"
    assert form.config().training.batch_size == 7
    assert form.can_reset()
    form.reset()
    assert form.settings_source() == "Default settings"
    assert (form.config().training.batch_size, form.config().paths.data_root) == (64, "features")
    assert not form.can_reset()
    assert "a" * 32 not in "".join(str(path) for path in tmp_path.rglob("*"))


def test_a_browser_that_only_looks_has_no_last_session(
    session: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CTBENCH_OUTPUTS", str(tmp_path))
    form.set_fields({"paths.data_root": "features"})
    form.save_dataset("mine")
    for _ in range(2):
        monkeypatch.setattr(st, "session_state", {})
        form.restore()
        assert form.settings_source() == "Default settings, data set mine"
        form.save()
    form.set_fields({"paths.data_root": "others"})
    form.save()
    monkeypatch.setattr(st, "session_state", {})
    form.restore()
    assert form.config().paths.data_root == "others"
    assert form.settings_source() == "Default settings, data of this browser's last session"
    assert not form.can_reset()  # data stay


def test_a_browser_gets_one_cookie() -> None:
    cookie = browser.new_cookie("theme=dark", is_secure=True)
    assert cookie is not None
    assert {"HttpOnly", "Secure", "SameSite=Lax"} <= {part.strip() for part in cookie.split(";")}
    assert browser.new_cookie(f"theme=dark; {cookie.split(';')[0]}", is_secure=True) is None
    assert browser.new_cookie("ctbench_browser=../../x", is_secure=False) is not None
    assert cookie != browser.new_cookie("", is_secure=True)
