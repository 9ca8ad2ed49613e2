"""A test's browser remembers nothing of the test before it, but for the files of the app that it has loaded."""

from __future__ import annotations

from tests.browser.app_server import AppServer
from tests.browser.browser_user import BrowserUser, sync_api
from tests.browser.contexts import Contexts

_LEAVE = "() => { localStorage.setItem('left', '1'); sessionStorage.setItem('left', '1'); document.cookie = 'left=1'; }"
_LEFT = "() => [localStorage.length, sessionStorage.length, document.cookie.includes('left'), Notification.permission]"
_FROM_CACHE = "() => performance.getEntriesByType('resource').filter((one) => one.name.includes('/static/js/') && !one.transferSize).length"


def _visit(user: BrowserUser) -> list[object]:
    user.page.goto(f"{user.url}/_stcore/health")
    return list(user.page.evaluate(_LEFT))


def test_a_browser_is_used_again_and_only_the_apps_code_stays(
    browser: sync_api.Browser, shared_server: AppServer
) -> None:
    contexts = Contexts(browser)
    first = contexts.open_user(shared_server)
    clean = _visit(first)
    first.go("data")
    assert first.page.evaluate(_FROM_CACHE) == 0
    first.page.context.grant_permissions(["notifications"])
    first.page.evaluate(_LEAVE)
    first.page.emulate_media(color_scheme="dark")
    assert _visit(first) != clean
    other = contexts.open_user(shared_server)
    assert other.page.context is not first.page.context
    contexts.close_user(other)
    contexts.close_user(first)
    assert [page.url for page in first.page.context.pages] == [f"{shared_server.url}/_stcore/health"]
    second = contexts.open_user(shared_server)
    assert second.page.context is first.page.context
    assert _visit(second) == clean
    assert not second.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    second.go("data")
    assert second.page.evaluate(_FROM_CACHE) > 0
    contexts.close_user(second)
