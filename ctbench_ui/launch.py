"""Serve the app of an installed package, from any folder: its settings, a free port, and the browser."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import tomllib
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit import config
from streamlit.logger import get_logger

from ctbench_core.errors import ConfigError
from ctbench_core.installation import source_tree
from ctbench_core.runs import app_store
from ctbench_ui import server

FIRST_PORT, PORTS = 8501, 100
_EVERY = ("0.0.0.0", "::", "")
_START_S, _POLL_S = 60, 0.1


def serve(host: str | None = None, port: int | None = None, outputs: str | None = None, browser: bool = True) -> None:
    """Serve the app until it is stopped.

    Args:
        host: the address to listen on; by default the one of the settings, this machine alone.
        port: by default the first free one from 8501 on.
        outputs: the run store; by default CTBENCH_OUTPUTS, or ``outputs`` in the working folder.
        browser: whether to open the browser, where there is a screen.

    Raises:
        ConfigError: the address may not be served, or the port is taken.
    """
    if outputs:
        os.environ["CTBENCH_OUTPUTS"] = outputs
    settings = _settings() | {"logger.hideWelcomeMessage": True}
    settings |= {"server.address": host} if host else {}
    address = str(settings.get("server.address") or config.get_option("server.address") or _EVERY[0])
    if refusal := server.refuse_address(address):
        raise ConfigError(refusal)
    settings["server.port"] = _free_port(address, port)
    _apply(settings)

    from ctbench_ui.app import arguments

    url = f"http://{_browser_host(address)}:{settings['server.port']}"
    print(f"ctbench: {url}\nRun store: {app_store().resolve()}\nCtrl+C stops the server.", flush=True)
    if browser and not config.get_option("server.headless"):
        threading.Thread(target=_open_when_ready, args=(url,), name="ctbench-browser", daemon=True).start()
    st.App(**arguments()).run(config=settings)


def _settings() -> dict[str, Any]:
    """Return our settings of Streamlit, less those that the user has set in a file or a variable."""
    root = source_tree()
    path = root / ".streamlit" / "config.toml" if root else Path(__file__).with_name("streamlit.toml")
    ours = dict(_flat(tomllib.loads(path.read_text(encoding="utf-8"))))
    return {name: value for name, value in ours.items() if not config.is_manually_set(name)}


def _apply(settings: Mapping[str, Any]) -> None:
    """Let Streamlit have the settings before the app is made, whose guard reads them; nothing is running that could warn of a change."""
    log = get_logger("streamlit.config")
    level = log.level
    log.setLevel(logging.ERROR)
    config.get_config_options(force_reparse=True, options_from_flags=dict(settings))
    log.setLevel(level)


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the settings of nested tables by their dotted names."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _free_port(address: str, wanted: int | None) -> int:
    """Return the port if it is free, or the first free one.

    Raises:
        ConfigError: it is taken, or the address is not one of this machine.
    """
    for port in [wanted] if wanted else range(FIRST_PORT, FIRST_PORT + PORTS):
        if _is_free(address, port):
            return port
    if wanted:
        raise ConfigError(f"Port {wanted} of {address} cannot be used. Leave --port out: the app finds a free one.")
    raise ConfigError(
        f"No port from {FIRST_PORT} on is free at {address}. Is it an address of this machine? Set --host."
    )


def _is_free(address: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        if os.name != "nt":  # there, the option would allow a port that is in use
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def _browser_host(address: str) -> str:
    """Return the address for a browser on this machine."""
    if address in _EVERY:
        return "127.0.0.1"
    return f"[{address}]" if ":" in address else address


def _open_when_ready(url: str) -> None:
    """Open the browser once the server answers."""
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        with suppress(urllib.error.URLError, OSError):
            urllib.request.urlopen(f"{url}/_stcore/health", timeout=1).close()
            webbrowser.open(url)
            return
        time.sleep(_POLL_S)
