"""Ignore a part of one page that asks to be redrawn when another page is already shown.

Parts of a page redraw themselves at intervals, on request of the browser. When the app opens another page
(``pages.go``), such a request can be on its way, and arrive when the other page is drawn. Streamlit then empties the page
and draws that one part: the status bar over nothing.
"""

from __future__ import annotations

from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.runtime.app_session import AppSession

_request_rerun = AppSession.request_rerun


def ignore() -> None:
    """Ignore late requests in every session of this server; calling it twice changes nothing."""
    AppSession.request_rerun = _request_unless_late  # type: ignore[assignment,method-assign]


def _request_unless_late(session: AppSession, request: ClientState | None) -> None:
    # Before the end of a session's first run its page is not known, and an interval is waited for in vain once.
    if request is None or not request.is_auto_rerun or request.page_script_hash == session.page_script_hash:
        _request_rerun(session, request)
