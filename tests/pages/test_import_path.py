"""Python's list of places to import from stays as it is while Streamlit runs a page."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from streamlit.runtime.scriptrunner.exec_code import modified_sys_path

from ctbench_ui.app import arguments
from ctbench_ui.frame import import_path


def test_a_run_of_a_page_moves_nothing_in_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    script = arguments()["script_path"]
    before = [place for place in sys.path if Path(place) != Path(script).parent]
    monkeypatch.setattr(sys, "path", list(before))
    import_path.keep(Path(script))
    kept = list(sys.path)
    assert kept[:-1] == before, "the folder of the pages hides no other module"
    with modified_sys_path(script):
        assert sys.path == kept
    assert sys.path == kept
