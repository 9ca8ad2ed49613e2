"""Names are shown as they are written, and messages name the fields of the page."""

from __future__ import annotations

import re

import pytest

from ctbench_ui.shared import as_text
from ctbench_ui.shared.text import name_fields

SPECIAL = r"(?<!\\)(?:\\\\)*([`*\[\]<>{}$~#|!&]|:(?=[A-Za-z]))"


@pytest.mark.parametrize(
    "name",
    [
        "![x](https://example.org/a.png)",
        "<img src=x onerror=alert(1)>",
        "**bold** _slanted_ `code` ~~gone~~",
        ":red[text] :material/home: :smile:",
        "$x^2$ and $$y$$",
        r"C:\runs\a",
        "a & b &lt; c | d",
        "[a](b) # c",
        "mlp · demo · seed 3",
        "my_run.v2 (12:30)",
    ],
)
def test_a_name_keeps_its_characters_and_none_is_special(name: str) -> None:
    shown = as_text(name)
    assert re.sub(r"\\(.)", r"\1", shown).replace("\u2060", "") == name
    assert not re.search(SPECIAL, shown)
    assert not re.search(r"://|www\.\w|:material", shown)


@pytest.mark.parametrize("name", ["1. first", "- item", "+ item"])
def test_a_name_is_no_list(name: str) -> None:
    assert not re.match(r"(\d+[.)]|[-+])\s", as_text(name))


def test_a_plain_name_stays_as_it_is() -> None:
    assert as_text("mlp · seed 3, my_run: 24 volumes (2)") == "mlp · seed 3, my_run: 24 volumes (2)"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Set data.columns.volume=Name if that is the one.", "Set “Volume column” = Name if that is the one."),
        (
            "with data.labels.values={2: unknown}, or data.columns.metadata.",
            "with “Label values” = {2: unknown}, or “Metadata columns”.",
        ),
        ("Use data.on_leak=refuse.", "Use “Shared patients” = refuse."),
        (
            "Set training.loss._target_=torch.nn.BCEWithLogitsLoss, or training.learning_rate. my.training.loss.gamma",
            "Set “Loss” = BCE, or “Learning rate”. my.training.loss.gamma",
        ),
        ("train.csv has no column a.b", "train.csv has no column a.b"),
        ("training.resume.allow_changes=true", "training.resume.allow_changes=true"),
    ],
)
def test_a_message_names_fields_in_place_of_keys(text: str, shown: str) -> None:
    assert name_fields(text) == shown
