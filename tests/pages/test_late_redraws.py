"""A part of one page that asks to be redrawn when another page is shown is ignored; every other request is met."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.runtime.app_session import AppSession

from ctbench_ui.frame import late_redraws


def test_only_a_late_redraw_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    met: list[Any] = []
    monkeypatch.setattr(AppSession, "request_rerun", AppSession.request_rerun)  # put back after the test
    monkeypatch.setattr(late_redraws, "_request_rerun", lambda _, request: met.append(request))
    late_redraws.ignore()
    late = ClientState(page_script_hash="home", fragment_id="bar", is_auto_rerun=True)
    others = [
        None,
        ClientState(page_script_hash="home"),  # a link in the navigation
        ClientState(page_script_hash="home", fragment_id="tab"),  # a click
        ClientState(page_script_hash="train", fragment_id="bar", is_auto_rerun=True),
    ]
    for request in [late, *others]:
        AppSession.request_rerun(SimpleNamespace(page_script_hash="train"), request)  # type: ignore[arg-type]
    assert met == others
    assert isinstance(AppSession.page_script_hash, property)
