"""Every journey of docs/journeys.md is walked once, those marked there by keyboard alone; clicks and fields are as written there."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.browser.app_server import AppServer, check_log, serve_app, use_store
from tests.browser.browser_user import sync_api
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
def serve_journey(shared_server: AppServer, used_store: Path, tmp_path: Path) -> Iterator[Callable[[Journey], AppServer]]:
    """Return a function that serves the store with which a journey begins; after the test no job runs."""
    start = check_log(shared_server)

    def serve(journey: Journey) -> AppServer:
        if journey.store == "copy":
            shutil.copytree(used_store, tmp_path / "outputs")
        return use_store(shared_server, used_store if journey.store == "used" else tmp_path / "outputs")

    yield serve
    use_store(shared_server, tmp_path / "nothing")
    check_log(shared_server, start)


@pytest.mark.parametrize("name", JOURNEYS)
def test_a_journey_ends_as_its_user_expects(
    name: str,
    serve_journey: Callable[[Journey], AppServer],
    browser: sync_api.Browser,
    new_user: Callable[..., Walker],
    tmp_path: Path,
) -> None:
    journey = JOURNEYS[name]
    server, folder = serve_journey(journey), tmp_path / "own"
    folder.mkdir()

    def open_browser(other: AppServer | None = None) -> Walker:
        return new_user(other or server, KeyboardWalker if journey.keyboard else Walker)

    walker = open_browser()
    journey.walk(walker, Scene(server, folder, open_browser, lambda: serve_app(folder)))
    assert (walker.keys > 0) == journey.keyboard
    assert counted_cells(journey, walker) == stored_cells(name)
