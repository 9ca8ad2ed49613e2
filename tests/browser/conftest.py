"""Start the app in a process of its own, and open it in a browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.browser.app_server import (
    BROWSERS,
    SHARED_APP,
    AppServer,
    check_log,
    find_browser,
    launch_browser,
    log_length,
    serve_app,
    use_store,
)
from tests.browser.browser_user import BrowserUser, sync_api
from tests.browser.contexts import ONE_PROCESS, Contexts
from tests.browser.demo_runs import write_runs


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., AppServer]]:
    """Return a function that starts the app with Streamlit options; all servers share one run store."""
    with ExitStack() as servers:
        yield lambda *options: servers.enter_context(serve_app(tmp_path, *options))


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    """Start the app that all tests share which do not stop it or need its first visit."""
    with serve_app(tmp_path_factory.mktemp("shared"), script=SHARED_APP) as server:
        yield server


@pytest.fixture
def server(shared_server: AppServer, tmp_path: Path) -> Iterator[AppServer]:
    """Give the app an empty run store; after the test no job runs, and the app has logged no traceback."""
    start = log_length(shared_server)
    server = use_store(shared_server, tmp_path / "outputs")
    yield server
    use_store(shared_server, tmp_path / "nothing")
    check_log(server, start)


@pytest.fixture(scope="session")
def browser() -> Iterator[sync_api.Browser]:
    """Start a headless browser of this machine, or skip."""
    if find_browser() is None:
        pytest.skip(f"no browser on this machine: looked for {', '.join(BROWSERS)}")
    with sync_api.sync_playwright() as playwright:
        chromium = launch_browser(playwright, ONE_PROCESS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def contexts(browser: sync_api.Browser) -> Contexts:
    """Return the browser contexts that all tests share."""
    return Contexts(browser)


@pytest.fixture
def new_user(contexts: Contexts) -> Iterator[Callable[[AppServer], BrowserUser]]:
    """Return a function that opens a server in a browser context of its own.

    After the test no page may show a traceback, have sent a request to another host, or have met the content policy.
    """
    users: list[BrowserUser] = []

    def open_browser(server: AppServer) -> BrowserUser:
        users.append(contexts.open_user(server))
        return users[-1]

    yield open_browser
    for user in users:
        check_page(user)
        contexts.close_user(user)


def check_page(user: BrowserUser) -> None:
    """Check that a page shows no traceback, and has met neither another host nor the content policy."""
    assert user.page.locator("[data-testid=stException]").count() == 0
    assert [url for url in user.requests if not url.startswith(("http://127.0.0.1", "data:", "blob:"))] == []
    assert user.blocked == []


@pytest.fixture
def user(new_user: Callable[[AppServer], BrowserUser], server: AppServer) -> BrowserUser:
    """Open the app with an empty run store."""
    return new_user(server)


@pytest.fixture(scope="session")
def demo_store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Path]]:
    """Write a store with finished and evaluated runs; return it, and their directories by name."""
    folder = tmp_path_factory.mktemp("demo_runs")
    runs = write_runs(folder, epochs=6)
    return folder / "outputs", runs


@pytest.fixture
def demo_runs(shared_server: AppServer, demo_store: tuple[Path, dict[str, Path]]) -> tuple[AppServer, dict[str, Path]]:
    """Serve the store of `demo_store`, and return its runs; tests must not change it."""
    store, runs = demo_store
    return use_store(shared_server, store), runs


@pytest.fixture
def reader(demo_runs: tuple[AppServer, dict[str, Path]], new_user: Callable[[AppServer], BrowserUser]) -> BrowserUser:
    """Open the app with the store of `demo_runs`."""
    return new_user(demo_runs[0])
