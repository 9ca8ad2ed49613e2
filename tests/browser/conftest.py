"""The app in a process of its own, and persons who look at it in a browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.browser.filled import fill
from tests.browser.hands import Hands, sync_api
from tests.browser.served import BROWSERS, Server, find_browser, serving

Meet = Callable[..., Hands]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Return a function that starts the app on a free port with options of streamlit; all share one run store."""
    with ExitStack() as servers:
        yield lambda *options: servers.enter_context(serving(tmp_path, *options))


@pytest.fixture
def server(serve: Callable[..., Server]) -> Server:
    """Start the app with an empty run store, and stop it afterwards."""
    return serve()


@pytest.fixture(scope="session")
def browser() -> Iterator[sync_api.Browser]:
    """Start a headless browser of this machine, or skip."""
    path = find_browser()
    if path is None:
        pytest.skip(f"no browser on this machine: looked for {', '.join(BROWSERS)}")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def meet(browser: sync_api.Browser) -> Iterator[Meet]:
    """Return a function that sits a person down at a server, in a browser that shares nothing with the others.

    At the end, no page may show a traceback, or have asked another host for anything.
    """
    met: list[Hands] = []

    def sit_down(server: Server) -> Hands:
        context = browser.new_context(viewport={"width": 1440, "height": 1000}, accept_downloads=True)
        met.append(Hands(context, server.url))
        return met[-1]

    yield sit_down
    for person in met:
        assert person.page.locator("[data-testid=stException]").count() == 0
        assert [url for url in person.asked if not url.startswith(("http://127.0.0.1", "data:", "blob:"))] == []
        person.page.context.close()


@pytest.fixture
def user(meet: Meet, server: Server) -> Hands:
    """Sit a person down at the app with an empty run store."""
    return meet(server)


@pytest.fixture(scope="session")
def week(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, dict[str, Path]]]:
    """Serve a store as after a week of work, and return its runs by what they show; tests only look at it."""
    folder = tmp_path_factory.mktemp("week")
    runs = fill(folder, epochs=6)
    with serving(folder) as server:
        yield server, runs


@pytest.fixture
def reader(week: tuple[Server, dict[str, Path]], meet: Meet) -> Hands:
    """Sit a person down at the filled store."""
    return meet(week[0])
