"""Run the app in a process of its own, and find a browser; for tests, benchmarks and screenshots."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
WINDOWS_BROWSERS = tuple(
    str(Path(os.environ.get(folder, ""), *parts))
    for folder in ("ProgramFiles", "ProgramFiles(x86)", "LocalAppData")
    for parts in (("Google", "Chrome", "Application", "chrome.exe"), ("Microsoft", "Edge", "Application", "msedge.exe"))
)  # Windows installs them outside the path
# Chromium without the parts that draw windows takes less of a processor.
BROWSERS = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "chrome",
    "msedge",
    *WINDOWS_BROWSERS,
)
# The one without windows would round the widths of letters, by which a row of buttons may need a second line.
FLAGS = ["--no-sandbox", "--font-render-hinting=none"]
START_S, STOP_S = 60, 20
SHARED_APP, STORE_ADDRESS = "tests/browser/shared_app.py", "use-store"


@dataclass(frozen=True)
class AppServer:
    """A running app: its address, run store, process and log."""

    url: str
    store: Path
    process: subprocess.Popen[bytes]
    log: Path


@contextmanager
def serve_app(folder: Path, *options: str, script: str = "app.py", port: int = 0) -> Iterator[AppServer]:
    """Serve the app on a free port with the run store ``folder/outputs``, and stop it at the end.

    Args:
        options: further command-line options of Streamlit.
        script: the app's file in the project.
        port: by default a free one.

    Raises:
        RuntimeError: the app does not start, or its log holds a traceback at the end.
    """
    server = _start(folder, options, script, port or free_port())
    try:
        _wait_until_healthy(server)
        yield server
    finally:
        _stop(server.process)
    check_log(server)


def check_log(server: AppServer, start: int = 0) -> None:
    """Check the log of a server.

    Raises:
        RuntimeError: there is a traceback after the first ``start`` characters.
    """
    log = server.log.read_text(encoding="utf-8")
    if "Traceback" in log[start:]:
        raise RuntimeError(f"The app wrote a traceback:\n{log[start:]}")


def log_length(server: AppServer) -> int:
    """Return how much a server has logged so far: what an earlier test caused is not this one's fault."""
    return len(server.log.read_text(encoding="utf-8"))


def use_store(server: AppServer, store: Path) -> AppServer:
    """Let a server of `shared_app` end its jobs and work on another run store.

    Raises:
        urllib.error.HTTPError: a job did not end.
    """
    query = urllib.parse.urlencode({"store": store})
    request = urllib.request.Request(f"{server.url}/{STORE_ADDRESS}?{query}", method="POST")
    with urllib.request.urlopen(request, timeout=START_S):
        return replace(server, store=store)


def find_browser() -> str | None:
    """Return the path of a browser on this machine; None without one."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def launch_browser(playwright: Any, *flags: str) -> Any:
    """Start the headless browser of this machine, with which tests, benchmarks and pictures of the docs are made."""
    return playwright.chromium.launch(executable_path=find_browser(), args=[*FLAGS, *flags])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _start(folder: Path, options: tuple[str, ...], script: str, port: int) -> AppServer:
    store = folder / "outputs"
    log = folder / f"server-{port}.log"
    folders = {"CTBENCH_OUTPUTS": str(store), "CTBENCH_DEMO": str(folder / "demo")}
    command = [sys.executable, "-m", "streamlit", "run", script, "--server.headless=true", f"--server.port={port}"]
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            [*command, "--server.fileWatcherType=none", *options],
            cwd=PROJECT,
            env={**os.environ, **folders},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    return AppServer(f"http://127.0.0.1:{port}", store, process, log)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_until_healthy(server: AppServer) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            with urllib.request.urlopen(f"{server.url}/_stcore/health", timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
    raise RuntimeError(f"The app did not start:\n{server.log.read_text(encoding='utf-8')}")
