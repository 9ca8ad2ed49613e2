"""Take pictures of every page on demo data: trained heads, opened tests, a measured alignment.

    python docs/screenshots.py                     the pictures of the docs, into docs/screenshots
    python docs/screenshots.py --all FOLDER        every page and tab, light and dark, at 390, 1280 and 1920 pixels
    python docs/screenshots.py --all FOLDER --only runs --themes dark --widths 1280

It needs Chromium and Playwright (requirements.txt names it), and writes nothing else.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from playwright.sync_api import Browser, sync_playwright  # noqa: E402

from tests.browser.filled import fill, fill_study  # noqa: E402
from tests.browser.hands import Hands  # noqa: E402
from tests.browser.served import Server, find_browser, serving  # noqa: E402

WIDTHS, THEMES = (390, 1280, 1920), ("light", "dark")
HEIGHTS = {390: 844, 1280: 800, 1920: 1080}
DRAWN_MS = 700  # a chart fades in after the page has settled


@dataclass(frozen=True)
class Shot:
    """One picture: where to go, which tab to open, what to press."""

    name: str
    address: str
    tab: str | None = None
    press: tuple[str, ...] = ()
    row: int | None = None


_EMPTY = ("", "data", "train", "runs", "evaluate", "compare", "alignment", "studies")
_COMPARE = ("Curves", "Disagreements", "Settings", "Label noise", "Published", "Paper")
_ALIGNMENT = ("Ranks and findings", "Browse", "Map", "Beside another")
_STUDIES = ("Overview", "Findings", "Differences", "Bottlenecks", "Runs", "Export")
SHOTS = (
    Shot("home", ""),
    Shot("data", "data", press=("check",)),
    Shot("data-prepare", "data", tab="Prepare manifests"),
    Shot("data-labels", "data", tab="Compare labels"),
    Shot("data-budgets", "data", tab="Budget files", press=("write-budgets",)),
    Shot("train", "train"),
    Shot("runs", "runs"),
    Shot("runs-card", "runs", row=0),
    Shot("runs-curves", "runs", row=0, tab="Curves"),
    Shot("evaluate", "evaluate"),
    Shot("evaluate-curves", "evaluate", tab="Curves"),
    Shot("evaluate-threshold", "evaluate", tab="Threshold", press=("cell-fp",)),
    Shot("evaluate-calibration", "evaluate", tab="Calibration"),
    Shot("evaluate-subgroups", "evaluate", tab="Subgroups"),
    Shot("evaluate-paper", "evaluate", tab="Paper"),
    Shot("evaluate-volumes", "evaluate", tab="Volumes"),
    Shot("compare", "compare"),
    *(Shot(f"compare-{tab.split()[-1].lower()}", "compare", tab=tab) for tab in _COMPARE),
    Shot("alignment", "alignment"),
    *(Shot(f"alignment-{tab.split()[0].lower()}", "alignment", tab=tab) for tab in _ALIGNMENT),
    Shot("studies", "studies"),
    *(Shot(f"studies-{tab.lower()}", "studies", tab=tab) for tab in _STUDIES),
    Shot("system", "system"),
)
EMPTY = tuple(Shot(f"empty-{name or 'home'}", name) for name in _EMPTY)
# picture of the docs: shot, theme
DOCS = {
    "home": ("home", "light"),
    "data": ("data", "light"),
    "train": ("train", "light"),
    "train-dark": ("train", "dark"),
    "runs": ("runs-curves", "light"),
    "evaluate": ("evaluate", "light"),
    "curves": ("evaluate-curves", "light"),
    "alignment": ("alignment", "light"),
    "budget-files": ("data-budgets", "light"),
}


def take(hands: Hands, shot: Shot, file: Path) -> None:
    """Go where a shot is taken, and write it, the whole page long."""
    hands.go(shot.address)
    for key in shot.press if shot.tab is None else ():
        hands.press(key)
    if shot.row is not None:
        hands.pick_row(shot.row, "run-card")
    if shot.tab is not None:
        hands.open_tab(shot.tab)
        for key in shot.press:
            hands.press(key)
    hands.settle()
    hands.page.wait_for_timeout(DRAWN_MS)
    page = hands.page
    page.evaluate("document.querySelector('[data-testid=stMain]')?.scrollTo(0, 0)")
    size = page.viewport_size
    long = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    page.set_viewport_size({"width": size["width"], "height": max(size["height"], min(long, 3000))})
    page.wait_for_timeout(DRAWN_MS)
    page.screenshot(path=str(file))
    page.set_viewport_size(size)


def persons(browser: Browser, server: Server, widths: list[int], themes: list[str]) -> Iterator[tuple[str, Any, Hands]]:
    """Sit down a person for each theme and width."""
    for theme in themes:
        for width in widths:
            size = {"width": width, "height": HEIGHTS[width]}
            context = browser.new_context(viewport=size, color_scheme=theme, device_scale_factor=1)
            yield theme, width, Hands(context, server.url)
            context.close()


def take_all(browser: Browser, server: Server, shots: list[Shot], options: argparse.Namespace) -> None:
    """Write every shot in every asked theme and width."""
    options.all.mkdir(parents=True, exist_ok=True)
    for theme, width, hands in persons(browser, server, options.widths, options.themes):
        for shot in shots:
            take(hands, shot, options.all / f"{shot.name}-{theme}-{width}.png")


def take_docs(browser: Browser, server: Server) -> None:
    """Write the pictures that the docs show."""
    shots = {shot.name: shot for shot in SHOTS}
    for theme, _, hands in persons(browser, server, [1280], list(THEMES)):
        for name, (shot, wanted) in DOCS.items():
            if wanted == theme:
                take(hands, shots[shot], PROJECT / "docs" / "screenshots" / f"{name}.png")


def options_of(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="every page, theme and width, into this folder")
    parser.add_argument("--only", nargs="*", help="names of shots, or how they begin")
    parser.add_argument("--themes", nargs="*", default=list(THEMES), choices=THEMES)
    parser.add_argument("--widths", nargs="*", type=int, default=list(WIDTHS), choices=WIDTHS)
    parser.add_argument("--empty", action="store_true", help="the pages of a first day, on an empty run store")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Take the pictures that the command line asks for."""
    options = options_of(arguments)
    wanted = tuple(options.only or ("",))
    shots = [shot for shot in (EMPTY if options.empty else SHOTS) if shot.name.startswith(wanted)]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        if not options.empty:
            fill_study(Path(folder))
            fill(Path(folder))
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        with serving(Path(folder)) as server:
            if options.all:
                take_all(browser, server, shots, options)
            else:
                take_docs(browser, server)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
