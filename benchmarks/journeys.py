"""Walk the journeys of docs/journeys.md in Chromium, and write clicks and seconds into its tables.

A warm server has shown every page before; a cold one is started for each journey. Run it on an idle machine:
`python -m benchmarks.journeys [--cold] [--theme dark] [--keyboard] [NAME ...]`. It needs Chromium and Playwright.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ctbench_ui.pages import PAGES
from tests.browser.app_server import SHARED_APP, AppServer, launch_browser, serve_app, use_store
from tests.browser.browser_user import sync_api
from tests.browser.demo_runs import write_runs
from tests.browser.journeys import JOURNEYS, Journey, KeyboardWalker, Scene, Walker, update, write_used_store


class Stage:
    """The browser, the used run store, and on a warm stage the server that all journeys share."""

    def __init__(self, browser: Any, folder: Path, options: argparse.Namespace) -> None:
        self.browser, self.folder, self.options = browser, folder, options
        write_runs(folder / "demo_runs", epochs=6)
        self.used = folder / "used" / "outputs"
        write_used_store(folder / "demo_runs" / "outputs", self.used)
        self.warm: AppServer | None = None
        (folder / "server").mkdir()

    def warm_up(self, server: AppServer) -> None:
        """Show every page of a server once."""
        self.warm = use_store(server, self.used)
        walker = self.open_browser()(self.warm)
        for name in list(PAGES)[1:]:
            walker.go(name)
        walker.page.context.close()

    def open_browser(self) -> Callable[[AppServer], Walker]:
        """Open a browser with cookies of its own; return a function that opens a server in a new tab."""
        kind = KeyboardWalker if self.options.keyboard else Walker
        size = {"width": 1440, "height": 1000}
        context = self.browser.new_context(viewport=size, color_scheme=self.options.theme)
        return lambda server: kind(context, server.url)

    def walk(self, journey: Journey) -> tuple[Walker, float]:
        """Walk a journey; return its walker, and the seconds from the first page to the last check."""
        folder = self.folder / journey.name
        (folder / "own").mkdir(parents=True)
        if journey.store != "empty":
            shutil.copytree(self.used, folder / "outputs")
        with ExitStack() as servers:
            if self.warm is None:
                server = servers.enter_context(serve_app(folder))
            else:
                server = use_store(self.warm, folder / "outputs")
            open_tab = self.open_browser()
            walker = open_tab(server)

            def open_other(other: AppServer | None = None) -> Walker:
                return open_tab(other or server)

            begin = time.perf_counter()
            journey.walk(walker, Scene(server, folder / "own", open_other, lambda: serve_app(folder / "own")))
            seconds = time.perf_counter() - begin
            self.leave()
        return walker, seconds

    def leave(self) -> None:
        """Close every window, and let the warm server end its jobs."""
        for context in self.browser.contexts:
            context.close()
        if self.warm is not None:
            use_store(self.warm, self.folder / "nothing")


def main() -> int:
    """Print a line for each journey, and write the document; return 1 when a journey did not end as its user expects."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[[], *JOURNEYS], help="by default all")
    parser.add_argument("--cold", action="store_true", help="start a server for each journey")
    parser.add_argument("--theme", choices=("light", "dark"), default="light")
    parser.add_argument("--keyboard", action="store_true", help="walk without a mouse")
    options = parser.parse_args()
    column = f"{'cold' if options.cold else 'warm'} {options.theme}"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        playwright = stack.enter_context(sync_api.sync_playwright())
        browser = launch_browser(playwright)
        stage = Stage(browser, folder, options)
        if not options.cold:
            stage.warm_up(stack.enter_context(serve_app(folder / "server", script=SHARED_APP)))
        failed = 0
        for name in options.names or JOURNEYS:
            try:
                walker, seconds = stage.walk(JOURNEYS[name])
            except (AssertionError, sync_api.Error):
                failed = 1
                print(f"{name:26} failed\n{traceback.format_exc()}", flush=True)
                stage.leave()
                continue
            print(f"{name:26} {walker.clicks:3} clicks {walker.fields:3} fields {seconds:6.1f} s", flush=True)
            update(JOURNEYS[name], walker, column, seconds)
        browser.close()
    return failed


if __name__ == "__main__":
    sys.exit(main())
