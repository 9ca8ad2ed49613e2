"""Python's list of places to import from stays as it is while Streamlit runs a page."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from streamlit.runtime.scriptrunner.exec_code import modified_sys_path

import ctbench_ui.app
from ctbench_ui.frame import import_path


def test_a_run_of_a_page_moves_nothing_in_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    script = str(Path(ctbench_ui.app.__file__).with_name("main.py"))
    folder = str(Path(script).parent)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place != folder])
    import_path.keep(Path(script))
    assert sys.path[-1] == folder, "the folder of the pages hides no other module"
    # Other places may come and go: scripts of earlier tests still end.
    with modified_sys_path(script):
        assert sys.path.count(folder) == 1
    assert sys.path.count(folder) == 1
