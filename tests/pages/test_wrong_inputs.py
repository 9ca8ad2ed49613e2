"""Wrong input of other labs on the Data page: what is wrong is named, and a click or what the message says solves it.

The cases are those of the command line: `tests.wrong_inputs` and `tests.wrong_files`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from ctbench_ui.shared.text import name_fields
from tests.wrong_files import WRONG, write
from tests.wrong_inputs import FIXED, WARNED

Open = Callable[..., AppTest]
Said = Callable[[AppTest], str]

PREPARE = {"data.tab": "Prepare manifests"}
CHOSEN = {"unknown data set", "tables beside a data set"}  # the page offers no such choice


def first_fix(app: AppTest) -> Any:
    """Return the first button of a fix; the one that applies several is no fix of its own."""
    return next(
        (button for button in app.button if str(button.key).startswith("fix-") and button.key != "fix-all"), None
    )


@pytest.mark.parametrize("case", FIXED)
def test_the_first_button_solves_what_the_error_says(
    case: str, data: Path, places: dict[str, str], open_page: Open
) -> None:
    change, settings, named = FIXED[case]
    change(data)
    app = open_page("data", places | settings)
    text = "\n".join(error.value for error in app.error)
    assert all(name_fields(part) in text for part in named), text
    for _ in range(len(app.error)):
        first_fix(app).click().run()
        assert not app.exception
    assert not app.error, app.error[0].value
    assert app.success[0].value.startswith("Ready")


@pytest.mark.parametrize("case", WARNED)
def test_what_is_left_out_is_a_warning(
    case: str, data: Path, places: dict[str, str], open_page: Open, said: Said
) -> None:
    change, named = WARNED[case]
    change(data)
    app = open_page("data", places)
    text = said(app)
    assert app.success[0].value.startswith("Ready to train, with")
    assert all(name_fields(part) in text for part in named), text


@pytest.mark.parametrize("case", [case for case in WRONG if case not in CHOSEN])
def test_a_wrong_file_of_a_data_set_is_solved_by_what_the_message_says(
    case: str, tmp_path: Path, open_page: Open
) -> None:
    wrong, root = WRONG[case], tmp_path / "raw"
    write(root, wrong.dataset)
    wrong.damage(root)
    fields = {"dataset": wrong.dataset, "root": str(root), "folder": str(tmp_path / "made"), **wrong.given}
    app = open_page("data", PREPARE | {f"prepare.{name}": value for name, value in fields.items()})
    app.button(key="preview").click().run()
    (error,) = app.error
    assert not re.search(r"\b(data\.|root=|collapse=)", error.value)
    message = re.search(wrong.message, error.value, re.MULTILINE)
    assert message, error.value
    if button := first_fix(app):
        button.click().run()
    else:
        for name, value in wrong.follow(root, message).items():
            app.session_state[f"prepare.{name}"] = value
        app.run()
        app.button(key="preview").click().run()
    assert not app.exception and not app.error
    assert app.success
    app.button(key="write-manifest").click().run()
    app.button(key="use-manifest").click().run()
    assert app.session_state["paths.manifest_dir"] == str(tmp_path / "made")
    assert not [error.value for error in app.error if "has no column" in error.value]
