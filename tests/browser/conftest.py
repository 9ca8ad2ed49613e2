"""The app in a process of its own, and a browser that looks at it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (requirements.txt names it)")

PROJECT = Path(__file__).resolve().parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome", "msedge")
START_S, STEP_MS = 60, 60_000


@dataclass(frozen=True)
class Server:
    """A running app: its address, its run store and its process."""

    url: str
    store: Path
    process: subprocess.Popen[bytes]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Return a function that starts the app on a free port with options of streamlit; all share one run store."""
    started: list[Server] = []

    def start(*options: str) -> Server:
        log = tmp_path / f"server-{len(started)}.log"
        started.append(_start(tmp_path, log, options))
        _wait_until_healthy(started[-1].url, started[-1].process, log)
        return started[-1]

    yield start
    for server in started:
        _end(server.process)
    for log in tmp_path.glob("server-*.log"):
        assert "Traceback" not in log.read_text(encoding="utf-8")


@pytest.fixture
def server(serve: Callable[..., Server]) -> Server:
    """Start the app with an empty run store, and stop it afterwards."""
    return serve()


def _start(folder: Path, log: Path, options: tuple[str, ...]) -> Server:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    store = folder / "outputs"
    places = {"CTBENCH_OUTPUTS": str(store), "CTBENCH_DEMO": str(folder / "demo")}
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless=true", f"--server.port={port}"]
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            [*command, "--server.fileWatcherType=none", *options],
            cwd=PROJECT,
            env={**os.environ, **places},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    return Server(f"http://127.0.0.1:{port}", store, process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_until_healthy(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/_stcore/health", timeout=1):
                return
        except (urllib.error.URLError, OSError):
            continue
    raise AssertionError(f"The app did not start:\n{log.read_text(encoding='utf-8')}")


@pytest.fixture(scope="session")
def browser() -> Iterator[sync_api.Browser]:
    """Start a headless browser of this machine, or skip."""
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"no browser on this machine: looked for {', '.join(BROWSERS)}")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def tab(browser: sync_api.Browser, server: Server) -> Iterator[sync_api.Page]:
    """Open a tab; at the end, no page may have shown a traceback or asked another host for anything."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, accept_downloads=True)
    context.set_default_timeout(STEP_MS)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    yield page
    assert page.locator("[data-testid=stException]").count() == 0
    assert [url for url in asked if not url.startswith((server.url, "data:", "blob:"))] == []
    context.close()


@pytest.fixture
def settle() -> Callable[[sync_api.Page], None]:
    """Return a function that waits until the app has drawn the page."""

    def wait(page: sync_api.Page) -> None:
        page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")

    return wait
