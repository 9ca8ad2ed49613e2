"""What a download button offered can be fetched for some seconds after its page has been redrawn, and not for ever."""

from __future__ import annotations

import pytest
from streamlit.runtime.media_file_manager import MediaFileManager
from streamlit.runtime.media_file_storage import MediaFileStorageError
from streamlit.runtime.memory_media_file_storage import MemoryMediaFileStorage

from ctbench_ui.frame import kept_downloads


@pytest.fixture
def moment(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the clock of the kept downloads, as a list of one number."""
    for name in ("_get_inactive_file_ids", "_remove_orphaned_deferred_callables"):
        monkeypatch.setattr(MediaFileManager, name, getattr(MediaFileManager, name))  # put back after the test
    clock = [0.0]
    monkeypatch.setattr(kept_downloads.time, "monotonic", lambda: clock[0])
    kept_downloads.keep()
    kept_downloads.keep()
    return clock


def _name(manager: MediaFileManager, url: str) -> str:
    return url.rpartition("/")[2].partition(".")[0]


def test_an_id_of_the_page_before_is_answered_for_some_seconds(moment: list[float]) -> None:
    manager = MediaFileManager(MemoryMediaFileStorage("/media"))
    old = manager.add_deferred(lambda: b"old", "text/csv", "place", "old.csv")
    manager.clear_session_refs()  # the page begins to be drawn
    manager.remove_orphaned_files()  # a run stops for a rerun, or another session's run ends
    new = manager.add_deferred(lambda: b"new", "text/csv", "place", "new.csv")
    manager.remove_orphaned_files()
    file = manager.read_file(_name(manager, manager.execute_deferred(old)))
    assert file is not None and file.content == b"old"
    moment[0] += kept_downloads.KEPT_S
    manager.remove_orphaned_files()
    with pytest.raises(MediaFileStorageError):
        manager.execute_deferred(old)
    moment[0] += kept_downloads.KEPT_S
    manager.remove_orphaned_files()
    assert manager.execute_deferred(new)  # the page still shows it
    assert set(manager._files_by_session_and_coord) == {"dontcare"}


def test_a_made_file_waits_for_the_browser(moment: list[float]) -> None:
    manager = MediaFileManager(MemoryMediaFileStorage("/media"))
    name = manager.add_deferred(lambda: b"rows", "text/csv", "place", "table.csv")
    made = _name(manager, manager.execute_deferred(name))
    for _ in range(3):  # runs of three sessions end
        manager.remove_orphaned_files()
    assert manager.read_file(made) is not None
    moment[0] += kept_downloads.KEPT_S
    for _ in range(2):
        manager.remove_orphaned_files()
    assert manager.read_file(made) is None
