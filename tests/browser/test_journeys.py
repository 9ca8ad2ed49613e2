"""Every journey of docs/journeys.md is walked once, those marked there by keyboard alone; clicks and fields are as written there."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.app_server import AppServer, check_log, log_length, serve_app, use_store
from tests.browser.browser_user import sync_api
from tests.browser.conftest import check_page
from tests.browser.contexts import open_context
from tests.browser.journeys import (
    JOURNEYS,
    Journey,
    KeyboardWalker,
    Scene,
    Walker,
    counted_cells,
    stored_cells,
    write_used_store,
)


@pytest.fixture(scope="module")
def used_store(tmp_path_factory: pytest.TempPathFactory, demo_store: tuple[Path, dict[str, Path]]) -> Path:
    """Write the store with which most journeys begin; tests must not change it."""
    store = tmp_path_factory.mktemp("used") / "outputs"
    write_used_store(demo_store[0], store)
    return store


@pytest.fixture
def serve_journey(
    shared_server: AppServer, used_store: Path, tmp_path: Path
) -> Iterator[Callable[[Journey], AppServer]]:
    """Return a function that serves the store with which a journey begins; after the test no job runs."""
    start = log_length(shared_server)

    def serve(journey: Journey) -> AppServer:
        if journey.store == "copy":
            shutil.copytree(used_store, tmp_path / "outputs")
        return use_store(shared_server, used_store if journey.store == "used" else tmp_path / "outputs")

    yield serve
    use_store(shared_server, tmp_path / "nothing")
    check_log(shared_server, start)


@pytest.fixture(scope="module")
def context(browser: sync_api.Browser, shared_server: AppServer) -> Iterator[Any]:
    """Return a browser that keeps the app's own code from journey to journey, as a user's does."""
    shared = open_context(browser, shared_server)
    yield shared
    shared.close()


@pytest.mark.parametrize("name", JOURNEYS)
def test_a_journey_ends_as_its_user_expects(
    name: str, serve_journey: Callable[[Journey], AppServer], context: Any, tmp_path: Path
) -> None:
    journey, walkers, folder = JOURNEYS[name], [], tmp_path / "own"
    server = serve_journey(journey)
    folder.mkdir()

    def open_browser(other: AppServer | None = None) -> Walker:
        walkers.append((KeyboardWalker if journey.keyboard else Walker)(context, (other or server).url))
        return walkers[-1]

    try:
        journey.walk(open_browser(), Scene(server, folder, open_browser, lambda: serve_app(folder)))
        for walker in walkers:
            check_page(walker)
    finally:
        for walker in walkers:
            walker.page.close()
    assert (walkers[0].keys > 0) == journey.keyboard
    assert counted_cells(journey, walkers[0]) == stored_cells(name)
