"""Every page opens on an empty store, and an empty page offers one button."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from ctbench_ui.pages import PAGES


@pytest.mark.parametrize("name", list(PAGES))
def test_a_page_opens_on_an_empty_store(name: str, open_page: Callable[..., AppTest]) -> None:
    app = open_page(name)
    assert not app.exception
    assert not app.error
    assert len(app.title) == 1


@pytest.mark.parametrize("name", ("train", "runs", "evaluate", "alignment"))
def test_an_empty_page_has_one_button_that_leads_on(name: str, open_page: Callable[..., AppTest]) -> None:
    app = open_page(name)
    assert len(app.button) == 1
    app.button[0].click().run()
    assert not app.exception
    assert app.title[0].value in ("Data", "Train")
