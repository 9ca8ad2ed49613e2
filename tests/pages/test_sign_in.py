"""Only users on the list pass where the server names an identity provider; without one, nobody is asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit
from streamlit.testing.v1 import AppTest

from ctbench_ui.frame import sign_in

MAIN = Path(__file__).resolve().parents[2] / "ctbench_ui" / "main.py"


class User(dict[str, Any]):
    """What the identity provider has told of a user."""

    @property
    def is_logged_in(self) -> bool:
        return bool(self)


class Streamlit:
    """Streamlit as this user sees it."""

    def __init__(self, user: User) -> None:
        self.user = user

    def __getattr__(self, name: str) -> Any:
        return getattr(streamlit, name)


@pytest.fixture
def visit(store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a function that opens the app as a user of a provider."""

    def open_as(**claims: Any) -> AppTest:
        monkeypatch.setattr(sign_in, "st", Streamlit(User(claims)))
        app = AppTest.from_file(str(MAIN), default_timeout=60)
        app.secrets["auth"] = {"client_id": "ctbench"}
        return app.run()

    monkeypatch.setenv("CTBENCH_USERS", "ann@hospital.example, *@clinic.example")
    yield open_as


def keys(app: AppTest) -> set[str]:
    return {str(button.key) for button in app.button}


def test_nobody_is_asked_without_a_provider(store: Path) -> None:
    app = AppTest.from_file(str(MAIN), default_timeout=60).run()
    assert not app.exception
    assert app.title[0].value == "ctbench"
    assert not keys(app) & {"sign-in", "sign-out"}


def test_a_visitor_sees_the_way_in_and_nothing_else(visit: Any) -> None:
    app = visit()
    assert not app.exception
    assert keys(app) == {"sign-in"}


@pytest.mark.parametrize("address", ["ann@hospital.example", "ANN@Hospital.Example", "anyone@clinic.example"])
def test_a_user_on_the_list_sees_the_app(visit: Any, address: str) -> None:
    app = visit(email=address)
    assert not app.exception
    assert keys(app) > {"sign-out"}
    assert any(address.lower() in part.value.replace("\\", "").replace("\u2060", "") for part in app.sidebar.caption)


@pytest.mark.parametrize(
    "claims",
    [
        {"email": "bob@hospital.example"},
        {"email": "ann@hospital.example.attacker.example"},
        {"email": "x@attacker.example,ann@hospital.example"},
        {"email": "attacker.example@x@clinic.example"},
        {"email": "ann@hospital.example", "email_verified": False},
        {"sub": "1234"},
        {"email": "![x](http://x.y/z.png)@clinic.example@a"},
    ],
)
def test_other_users_are_told_whom_to_ask(visit: Any, claims: dict[str, Any]) -> None:
    app = visit(**claims)
    assert not app.exception
    assert keys(app) == {"sign-out"}
    assert "CTBENCH_USERS" in app.error[0].value
    assert "![x](" not in app.error[0].value


def test_without_a_list_nobody_passes(visit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CTBENCH_USERS")
    assert keys(visit(email="ann@hospital.example")) == {"sign-out"}
