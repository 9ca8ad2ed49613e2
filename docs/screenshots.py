"""Take screenshots of every page on demo data: trained heads, evaluated tests, a study and an alignment.

    python docs/screenshots.py                     the pictures of the docs, into docs/screenshots
    python docs/screenshots.py --only compare      some of them
    python docs/screenshots.py --all FOLDER        every page and tab, light and dark, at 390, 1280 and 1920 pixels;
                                                   prints what is cut, overlaps or scrolls sideways, and where tabs begin
    python docs/screenshots.py --all FOLDER --only runs --themes dark --widths 1280

Chromium and Playwright are needed (requirements.txt lists Playwright). Nothing else is written.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from tests.browser.browser_user import TABS, BrowserUser, open_app  # noqa: E402
from tests.browser.demo_runs import write_runs, write_study  # noqa: E402

WIDTHS, THEMES = (390, 1280, 1920), ("light", "dark")
HEIGHTS = {390: 844, 1280: 800, 1920: 1080}
MAX_HEIGHT = 3000
LAYOUT = (PROJECT / "tests" / "browser" / "layout.js").read_text(encoding="utf-8")
FADE_MS = 700  # a chart fades in after the page has settled


@dataclass(frozen=True)
class Shot:
    """One screenshot.

    Attributes:
        name: of the file.
        address: of the page; the name of a run of `write_runs` in braces stands for its id.
        tab: where it is shown and its name, as in `TABS`.
        buttons: keys of buttons to press, after the tab is opened.
        row: of the page's table to select before.
    """

    name: str
    address: str
    tab: tuple[str, str] | None = None
    buttons: tuple[str, ...] = ()
    row: int | None = None


def _page_and_tabs(page: str, buttons: Mapping[str, tuple[str, ...]] | None = None) -> Iterator[Shot]:
    """Yield screenshots of a page and of each tab; the page opens with the first one."""
    yield Shot(page, page)
    for name in TABS[page][1][1:]:
        yield Shot(f"{page}-{name.replace(' ', '-')}", page, (page, name), (buttons or {}).get(name, ()))


SHOTS = (
    Shot("home", ""),
    Shot("data", "data", buttons=("check",)),
    Shot("data-prepare", "data", ("data", "prepare manifests")),
    Shot("data-labels", "data", ("data", "compare labels")),
    Shot("data-budgets", "data", ("data", "budget files"), buttons=("write-budgets",)),
    Shot("train", "train"),
    Shot("runs", "runs"),
    Shot("runs-card", "runs", row=0),
    Shot("runs-curves", "runs", ("run card", "curves"), row=0),
    Shot("runs-together", "runs?runs.curves=true"),
    *_page_and_tabs("evaluate", {"threshold": ("cell-fp",)}),
    *_page_and_tabs("compare"),
    *_page_and_tabs("alignment"),
    *_page_and_tabs("studies"),
    Shot("system", "system"),
    Shot("compare-heads", "compare?runs={linear 1},{mlp 1}&on=test"),
)
_EMPTY = ("", "data", "train", "runs", "evaluate", "compare", "alignment", "studies")
EMPTY_SHOTS = tuple(Shot(f"empty-{address or 'home'}", address) for address in _EMPTY)
# Picture of the docs: screenshot, theme.
DOCS = {
    "home": ("home", "light"),
    "data": ("data", "light"),
    "train": ("train", "light"),
    "train-dark": ("train", "dark"),
    "runs": ("runs-curves", "light"),
    "evaluate": ("evaluate", "light"),
    "curves": ("evaluate-curves", "light"),
    "compare": ("compare-heads", "light"),
    "alignment": ("alignment", "light"),
    "budget-files": ("data-budgets", "light"),
}


def take(user: BrowserUser, shot: Shot, file: Path) -> dict[str, Any]:
    """Open what a screenshot shows, and write the complete page; return the faults of its layout, and where it begins."""
    user.go(shot.address)
    if shot.row is not None:
        user.select_row(shot.row, "run-card")
    if shot.tab is not None:
        user.open_tab(*shot.tab)
    for key in shot.buttons:
        user.click(user.widget(key, "button:visible"))  # on a phone a button with help is another one
    user.settle()
    page = user.page
    page.mouse.move(page.viewport_size["width"] - 1, 1)  # off what was pressed, whose help would lie over the page
    page.wait_for_timeout(FADE_MS)
    page.evaluate("document.querySelector('[data-testid=stMain]')?.scrollTo(0, 0)")
    layout = dict(page.evaluate(LAYOUT))
    size = page.viewport_size
    height = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    page.set_viewport_size({"width": size["width"], "height": max(size["height"], min(height, MAX_HEIGHT))})
    page.wait_for_timeout(FADE_MS)
    page.screenshot(path=str(file))
    page.set_viewport_size(size)
    return layout


def open_window(new_user: Callable[..., BrowserUser], theme: str, width: int) -> BrowserUser:
    """Open the app in a theme and a width."""
    size = {"width": width, "height": HEIGHTS[width]}
    return new_user(viewport=size, color_scheme=theme, device_scale_factor=1)


def take_all(new_user: Callable[..., BrowserUser], shots: list[Shot], options: argparse.Namespace) -> None:
    """Write every screenshot in the chosen themes and widths."""
    options.all.mkdir(parents=True, exist_ok=True)
    for theme in options.themes:
        for width in options.widths:
            user = open_window(new_user, theme, width)
            for shot in shots:
                name = f"{shot.name}-{theme}-{width}"
                layout = take(user, shot, options.all / f"{name}.png")
                print(name, f"begins at {layout['top']}", *layout["faults"], sep="\n    ", flush=True)
            user.page.context.close()


def _with_ids(shot: Shot, ids: Mapping[str, str]) -> Shot:
    return dataclasses.replace(shot, address=shot.address.format_map(ids))


def take_docs(new_user: Callable[..., BrowserUser], ids: Mapping[str, str], only: list[str] | None = None) -> None:
    """Write the pictures of the docs, all or some."""
    shots = {shot.name: _with_ids(shot, ids) for shot in SHOTS}
    users = {theme: open_window(new_user, theme, 1280) for theme in THEMES}
    for picture in only or DOCS:
        name, theme = DOCS[picture]
        take(users[theme], shots[name], PROJECT / "docs" / "screenshots" / f"{picture}.png")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="every page, theme and width, into this folder")
    parser.add_argument("--only", nargs="*", help="names of screenshots, or their beginnings")
    parser.add_argument("--themes", nargs="*", default=list(THEMES), choices=THEMES)
    parser.add_argument("--widths", nargs="*", type=int, default=list(WIDTHS), choices=WIDTHS)
    parser.add_argument("--empty", action="store_true", help="the pages with an empty run store")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Take the screenshots that the command line names."""
    options = parse(arguments)
    names = tuple(options.only or ("",))
    shots = [shot for shot in (EMPTY_SHOTS if options.empty else SHOTS) if shot.name.startswith(names)]
    with tempfile.TemporaryDirectory() as folder:
        ids: dict[str, str] = {}
        if not options.empty:
            write_study(Path(folder))
            ids = {name: run_dir.name for name, run_dir in write_runs(Path(folder)).items()}
        with open_app(Path(folder)) as new_user:
            if options.all:
                take_all(new_user, [_with_ids(shot, ids) for shot in shots], options)
            else:
                take_docs(new_user, ids, options.only)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
