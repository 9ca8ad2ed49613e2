"""Damage a store as `benchmarks.damage` does, and walk all pages of the app in a browser each time.

``python -m benchmarks.damage_pages [number] [seed]``. No page may show a traceback; a damaged run is named on Runs; on
Evaluate every other run shows the figures that it shows in the whole store.
"""

from __future__ import annotations

import contextlib
import random
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import TimeoutError, sync_playwright

from benchmarks.damage import Ground, damage
from ctbench_core.runs import damaged_in
from ctbench_ui.shared import cache
from tests.browser.app_server import SHARED_APP, launch_browser, serve_app, use_store
from tests.browser.browser_user import BrowserUser

PAGES = ("", "data", "train", "runs", "evaluate", "compare", "studies", "alignment", "system")
TRACEBACK = "[data-testid=stException]"


def figures(user: BrowserUser, name: str) -> list[str]:
    """Return the cards that Evaluate shows of a run."""
    user.go(f"evaluate?run={Path(name).name}")
    cards = user.page.locator("[data-testid=stMetric]")
    with contextlib.suppress(TimeoutError):
        cards.first.wait_for(timeout=20_000)
    user.settle()
    return [card.inner_text() for card in cards.all()]


def walk(user: BrowserUser, named: dict[str, str], whole: dict[str, list[str]]) -> list[str]:
    """Return what is wrong on the pages of a damaged store."""
    wrong = []
    for address in PAGES:
        user.go(address)
        if user.page.locator(TRACEBACK).count():
            wrong.append(f"traceback on /{address}: {user.page.locator(TRACEBACK).first.inner_text()[:200]}")
    user.go("runs")
    shown = user.page.locator("[data-testid=stApp]").inner_text()
    if named and f"{len(named)} damaged run" not in shown:
        wrong.append(f"Runs does not name {', '.join(named)}")
    for name, cards in whole.items():
        if name not in named and (now := figures(user, name)) != cards:
            wrong.append(f"Evaluate shows other figures of {name}: {cards} -> {now}")
    return wrong


def main(number: int = 30, seed: int = 1) -> int:
    """Damage a store a number of times and print what the pages got wrong; return 1 if anything."""
    draw, failures = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder = Path(temporary)
        ground = Ground(folder / "ground")
        chromium = launch_browser(playwright)
        with serve_app(folder, script=SHARED_APP) as server:
            user = BrowserUser(chromium.new_context(viewport={"width": 1440, "height": 1000}), server.url)
            with ground.copy() as root:
                use_store(server, root.absolute())
                evaluated = [name for name in ground.names if (root / name / "evaluation").is_dir()]
                whole = {name: figures(user, name) for name in evaluated}
                wrong = walk(user, {}, whole)
            assert all(whole.values()) and not wrong, (whole, wrong)
            for k in range(number):
                with ground.copy() as root:
                    done = damage(root, draw)
                    runs = [*damaged_in(root), *cache.damaged_rows(str(root))]
                    named = {run.folder.relative_to(root).as_posix(): run.reason for run in runs}
                    use_store(server, root.absolute())
                    wrong = walk(user, named, whole)
                verdict = "wrong" if wrong else "named" if named else "no run is damaged"
                print(f"{k + 1} {done.file}: {done.what}: {verdict}", *wrong, sep="\n    ", flush=True)
                failures += bool(wrong)
            use_store(server, folder / "nothing")
        chromium.close()
    print(f"{number} corruptions, {failures} wrong")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
