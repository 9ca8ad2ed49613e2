"""A page is one declaration and the function that it names: navigation, outline and address follow."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

PROJECT = Path(__file__).resolve().parents[2]

MODULE = """
import streamlit as st
from ctbench_ui.shared import draw_tabs, linked_ids

def draw():
    st.title("Notebook")
    if page := linked_ids.read_id("notebook", "leaf", ["first"]):
        st.markdown(f"leaf {page}")
    draw_tabs({"Plans": lambda: st.markdown("what to do"), "Results": lambda: st.markdown("what came")}, "notebook.tab")
"""

SCRIPT = f"""
import runpy
import streamlit as st
from ctbench_ui.pages import PAGES, Page, go

if "notebook" not in PAGES:
    PAGES.add(
        Page(
            name="notebook",
            title="Notebook",
            group="Notes",
            icon=":material/book:",
            draw="added_notebook:draw",
            outline=(((1, 2), 77),),
            ids={{"leaf": "This leaf is not in the notebook"}},
            tabs={{"notebook.tab": ("Plans", "Results")}},
            readonly=True,
        )
    )
runpy.run_path({str(PROJECT / "ctbench_ui" / "main.py")!r})
if st.button("there", key="there"):
    go("notebook", dict(st.session_state.get("query", {{}})))
"""


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """Open the app, with one page more, on an empty store."""

    from ctbench_ui.frame import loading
    from ctbench_ui.pages import PAGES
    from ctbench_ui.shared import bounded_cache

    monkeypatch.setattr(PAGES, "_items", dict(PAGES._items))
    monkeypatch.setattr(loading, "_visited", set())
    monkeypatch.setenv("CTBENCH_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.syspath_prepend(str(tmp_path))
    bounded_cache.kept.clear()
    (tmp_path / "added_notebook.py").write_text(MODULE, encoding="utf-8")
    script = tmp_path / "main_with_notebook.py"
    script.write_text(SCRIPT, encoding="utf-8")
    return AppTest.from_file(str(script), default_timeout=60).run()


def _texts(app: AppTest) -> str:
    return "\n".join(str(part.value) for kind in ("markdown", "warning", "error") for part in app.get(kind))


def test_the_navigation_and_the_outline_have_the_page(added: AppTest) -> None:
    from ctbench_ui.frame import readonly
    from ctbench_ui.pages import PAGES, groups

    counts = {group: len(pages) for group, pages in groups().items()}
    assert counts["Notes"] == 1
    assert sum(counts.values()) == len(PAGES) > 1
    assert "notebook" in readonly.names()
    app = added.button(key="there").click().run()
    assert not app.exception
    assert [title.value for title in app.title] == ["Notebook"]
    assert any("height: 77px" in part.proto.body for part in app.get("html"))
    assert "what to do" in _texts(app)
    assert "what came" not in _texts(app)


def test_its_address_is_checked(added: AppTest) -> None:
    added.session_state["query"] = {"leaf": "first", "notebook.tab": "results", "colour": "red"}
    app = added.button(key="there").click().run()
    assert "leaf first" in _texts(app)
    assert "what came" in _texts(app)
    assert "The page Notebook has no colour" in _texts(app)


def test_a_dead_id_in_its_address_is_reported(added: AppTest) -> None:
    added.session_state["query"] = {"leaf": "last"}
    app = added.button(key="there").click().run()
    assert not app.exception
    assert [error.proto.title for error in app.error] == ["This leaf is not in the notebook"]
    assert not app.get("tab")
