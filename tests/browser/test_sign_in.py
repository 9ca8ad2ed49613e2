"""Signing in at an identity provider, in a browser: a user on the list works on, another is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ctbench_core.runs import read_status
from tests.browser.app_server import AppServer, free_port, serve_app
from tests.browser.browser_user import BrowserUser

authlib = pytest.importorskip("authlib")
ANN = "ann@hospital.example"


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AppServer]:
    """Serve the app with a provider that signs everybody in as Ann."""
    from tests.browser.identity_provider import CLIENT, serve_provider

    port, secrets = free_port(), tmp_path / "secrets.toml"
    with serve_provider(ANN) as provider:
        secrets.write_text(
            f'[auth]\nredirect_uri = "http://127.0.0.1:{port}/oauth2callback"\ncookie_secret = "{"c" * 40}"\n'
            f'client_id = "{CLIENT}"\nclient_secret = "s"\n'
            f'server_metadata_url = "{provider}/.well-known/openid-configuration"\n'
        )
        monkeypatch.setenv("CTBENCH_USERS", "*@hospital.example")
        with serve_app(tmp_path, f"--secrets.files={secrets}", port=port) as server:
            yield server


def test_a_user_on_the_list_signs_in_and_out(guarded: AppServer, new_user: Callable[[AppServer], BrowserUser]) -> None:
    user = new_user(guarded)
    user.go("train")
    assert user.page.locator("[data-testid=stSidebarNavLink]").count() == 0
    user.button("sign-in").click()
    user.button("sign-out").wait_for()
    user.wait_for_text(re.compile(ANN.replace("@", "@\u2060?")))
    user.go()
    user.press("demo")
    user.wait_for_page("train**")
    user.press("start")
    (path,) = guarded.store.glob("*/*/status.json")
    assert read_status(path).started_by == ANN
    user.button("to-evaluate").wait_for()
    user.navigate("runs")
    user.button("sign-out").click()
    user.button("sign-in").wait_for()
