"""Every config key has a field on some page, or declares why the command line alone has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from ctbench_core.config import KEYS
from ctbench_core.declared import HEADS, LOSSES
from ctbench_ui.data.data_form import _BOXES
from ctbench_ui.train.train_form import _OTHERS

Open = Callable[..., AppTest]


def boxes(names: Iterator[str]) -> dict[str, Any]:
    """Return the fields that open boxes, by the names that the pages give them."""
    return dict.fromkeys(names, True)


KINDS = ("text_input", "number_input", "selectbox", "multiselect", "toggle", "checkbox", "button_group", "text_area")
# Fields of several widgets, by the beginning of their keys.
COMPOSITE = {"data.cohort.where": "where"}


def drawn(app: AppTest) -> set[str]:
    """Return the keys that a widget of a page edits."""
    assert not app.exception
    widgets = [str(widget.key) for kind in KINDS for widget in app.get(kind)]
    return {
        key for key in KEYS if any(name == key or name.startswith(COMPOSITE.get(key, f"{key}.")) for name in widgets)
    }


@pytest.fixture
def reachable(open_page: Open, places: dict[str, str]) -> set[str]:
    """Return the keys that some page draws, whatever is chosen."""
    titles = ["more", *(title.split()[0].lower() for title in _BOXES)]
    found = drawn(open_page("data", places | boxes(f"data.box-{title}" for title in titles)))
    train = places | boxes(f"train.{title.split()[0].lower()}" for title, *_ in _OTHERS)
    for head in HEADS:
        found |= drawn(open_page("train", {**train, "model._target_": head, "model.inputs": "gated"}))
    for loss in LOSSES:
        found |= drawn(open_page("train", {**train, "model._target_": "mlp", "training.loss._target_": loss}))
    return found | drawn(open_page("alignment", places))


def test_every_key_is_on_a_page_or_declares_why_not(reachable: set[str]) -> None:
    only = {name for name, info in KEYS.items() if info.command_line_only}
    assert set(KEYS) - reachable == only
