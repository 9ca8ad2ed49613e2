"""`app`: what it needs, where it listens, and whose settings win."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit import config as streamlit_config

import ctbench_core.cli.verbs as verbs
from ctbench_core.errors import ConfigError
from ctbench_ui import launch

Cli = Callable[..., Any]


@pytest.fixture(autouse=True)
def settings_of_streamlit(tmp_path: Path) -> Iterator[None]:
    """Let Streamlit read its settings in an empty folder, and as before after the test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        patch.setattr(streamlit_config, "_main_script_path", None)
        launch._apply({})
        yield
    launch._apply({})


def test_without_its_packages_one_line_says_what_to_install(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verbs, "find_spec", lambda name: None)
    ended = cli("app")
    assert ended.code == 1
    assert ended.err.splitlines() == [
        'Error: The app needs Streamlit and Plotly. Install them: python -m pip install "ctbench[app]"'
    ]


def test_the_app_takes_options_only(cli: Cli) -> None:
    assert cli("app", "training.max_epochs=3").code == 2


def test_other_machines_are_not_served_without_allowed_folders(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CTBENCH_ROOTS", raising=False)
    ended = cli("app", "--host", "0.0.0.0")
    assert ended.code == 2
    assert "CTBENCH_ROOTS" in ended.err


def test_the_first_free_port_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(launch, "FIRST_PORT", port)
        assert launch._free_port("127.0.0.1", None) > port
        with pytest.raises(ConfigError, match=f"Port {port}"):
            launch._free_port("127.0.0.1", port)


def test_settings_of_the_user_win(tmp_path: Path) -> None:
    (tmp_path / ".streamlit").mkdir()
    (tmp_path / ".streamlit" / "config.toml").write_text("[server]\nmaxUploadSize = 7\n", encoding="utf-8")
    launch._apply({})
    ours = launch._settings()
    assert "server.maxUploadSize" not in ours
    assert ours["server.address"] == "127.0.0.1"


def test_the_server_gets_its_address_port_and_store(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    served: dict[str, Any] = {}
    monkeypatch.setattr(launch.st, "App", lambda **arguments: served.update(arguments) or _Server(served))
    monkeypatch.setenv("CTBENCH_OUTPUTS", "elsewhere")
    ended = cli("app", "--no-browser", "--outputs", str(tmp_path / "store"))
    assert ended.code == 0, ended.err
    assert served["config"]["server.address"] == "127.0.0.1"
    assert f"http://127.0.0.1:{served['config']['server.port']}" in ended.out
    assert f"Run store: {tmp_path / 'store'}" in ended.out
    assert Path(served["script_path"]).is_file()
    assert served["middleware"]


class _Server:
    """Take the place of Streamlit's server; note what it was started with."""

    def __init__(self, served: dict[str, Any]) -> None:
        self._served = served

    def run(self, *, config: dict[str, Any]) -> None:
        self._served["config"] = config
