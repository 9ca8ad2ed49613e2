"""Keep what download buttons offer for some seconds after a page has been redrawn.

A button whose file is made on the click names it by an id, and Streamlit gives it another one whenever its page is drawn.
It forgets the earlier id at the end of a run: of a run that stopped to be repeated, before the new ids exist, and of any
session at all while this one is being drawn. A press in that moment asked for an id that was gone, and the download was lost.
The same holds for the file itself between its making and the browser's request for it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from streamlit.runtime.media_file_manager import MediaFileManager

KEPT_S = 20.0
_SESSION = "ctbench: kept downloads"
_find_unused = getattr(MediaFileManager, "_get_inactive_file_ids", None)
_forget_unused = getattr(MediaFileManager, "_remove_orphaned_deferred_callables", None)


class _Unused:
    """Since when ids have been unused, as long as they are."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def recent(self, unused: Iterable[str]) -> set[str]:
        """Return which of the ids that are unused now have been so for less than `KEPT_S`."""
        now = time.monotonic()
        self._since = {name: self._since.get(name, now) for name in unused}
        return {name for name, since in self._since.items() if now - since < KEPT_S}


_files, _callables = _Unused(), _Unused()


def keep() -> None:
    """Keep downloads in every session of this server; calling it twice changes nothing.

    A Streamlit without these private functions works as it does by itself.
    """
    if _find_unused is None or _forget_unused is None:
        return
    MediaFileManager._get_inactive_file_ids = _find_long_unused  # type: ignore[assignment,method-assign]
    MediaFileManager._remove_orphaned_deferred_callables = _forget_long_unused  # type: ignore[assignment,method-assign]


# Both are called with the lock of the manager.


def _find_long_unused(manager: MediaFileManager) -> set[str]:
    assert _find_unused is not None
    unused: set[str] = _find_unused(manager)
    return unused - _files.recent(unused)


def _forget_long_unused(manager: MediaFileManager) -> None:
    sessions = manager._files_by_session_and_coord
    used = {name for names in sessions.values() for name in names.values()}
    recent = _callables.recent(set(manager._deferred_callables) - used)
    sessions[_SESSION] = {name: name for name in recent}  # for this moment they are in use
    assert _forget_unused is not None
    try:
        _forget_unused(manager)
    finally:
        del sessions[_SESSION]
