"""Start the app in a process of its own, and open it in a browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.browser.app_server import BROWSERS, AppServer, find_browser, serve_app
from tests.browser.browser_user import BrowserUser, sync_api
from tests.browser.demo_runs import write_runs


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., AppServer]]:
    """Return a function that starts the app with Streamlit options; all servers share one run store."""
    with ExitStack() as servers:
        yield lambda *options: servers.enter_context(serve_app(tmp_path, *options))


@pytest.fixture
def server(serve: Callable[..., AppServer]) -> AppServer:
    """Start the app with an empty run store, and stop it after the test."""
    return serve()


@pytest.fixture(scope="session")
def browser() -> Iterator[sync_api.Browser]:
    """Start a headless browser of this machine, or skip."""
    path = find_browser()
    if path is None:
        pytest.skip(f"no browser on this machine: looked for {', '.join(BROWSERS)}")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def new_user(browser: sync_api.Browser) -> Iterator[Callable[[AppServer], BrowserUser]]:
    """Return a function that opens a server in a browser context of its own.

    After the test no page may show a traceback, or have sent a request to another host.
    """
    users: list[BrowserUser] = []

    def open_browser(server: AppServer) -> BrowserUser:
        context = browser.new_context(viewport={"width": 1440, "height": 1000}, accept_downloads=True)
        users.append(BrowserUser(context, server.url))
        return users[-1]

    yield open_browser
    for user in users:
        assert user.page.locator("[data-testid=stException]").count() == 0
        assert [url for url in user.requests if not url.startswith(("http://127.0.0.1", "data:", "blob:"))] == []
        user.page.context.close()


@pytest.fixture
def user(new_user: Callable[[AppServer], BrowserUser], server: AppServer) -> BrowserUser:
    """Open the app with an empty run store."""
    return new_user(server)


@pytest.fixture(scope="session")
def demo_runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[AppServer, dict[str, Path]]]:
    """Serve a store with finished and evaluated runs, and return their directories by name; tests must not change it."""
    folder = tmp_path_factory.mktemp("demo_runs")
    runs = write_runs(folder, epochs=6)
    with serve_app(folder) as server:
        yield server, runs


@pytest.fixture
def reader(demo_runs: tuple[AppServer, dict[str, Path]], new_user: Callable[[AppServer], BrowserUser]) -> BrowserUser:
    """Open the app with the store of `demo_runs`."""
    return new_user(demo_runs[0])
