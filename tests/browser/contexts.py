"""Browser contexts that tests use one after another: the app's code is loaded and compiled once, and nothing else stays."""

from __future__ import annotations

from typing import Any

from tests.browser.app_server import AppServer
from tests.browser.browser_user import BrowserUser

WINDOW: dict[str, Any] = {"viewport": {"width": 1440, "height": 1000}, "accept_downloads": True}
ONE_PROCESS = "--process-per-site"
_STORES = (
    "local_storage,indexeddb,cache_storage,service_workers,file_systems"  # all but cookies and the files it has loaded
)


def open_context(browser: Any, server: AppServer) -> Any:
    """Return a new context with one page that stays open: the process that has compiled the app's code lives as long.

    With `ONE_PROCESS`, every further page of the context that shows the app is drawn by this process.
    """
    context = browser.new_context(**WINDOW)
    context.new_page().goto(f"{server.url}/_stcore/health")
    return context


class Contexts:
    """Browser contexts, each of one user at a time."""

    def __init__(self, browser: Any) -> None:
        self._browser = browser
        self._free: list[Any] = []

    def open_user(self, server: AppServer) -> BrowserUser:
        """Return a user whose browser remembers nothing of the app."""
        context = self._free.pop() if self._free else open_context(self._browser, server)
        user = BrowserUser(context, server.url)
        session = context.new_cdp_session(user.page)
        session.send("Storage.clearDataForOrigin", {"origin": server.url, "storageTypes": _STORES})
        session.detach()
        return user

    def close_user(self, user: BrowserUser) -> None:
        """Close the pages of a user; the next one gets a context without cookies and permissions."""
        context = user.page.context
        for page in context.pages[1:]:
            page.close()
        context.clear_cookies()
        context.clear_permissions()
        self._free.append(context)
