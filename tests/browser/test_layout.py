"""The check of layouts, on made-up pages with one fault each: see `docs/screenshots.py --all`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ctbench_ui.frame import page_style
from ctbench_ui.frame.page_style import STYLE
from ctbench_ui.runs.page import _STYLE as RUNS_STYLE
from ctbench_ui.shared import live
from ctbench_ui.system.page import _STYLE as SYSTEM_STYLE
from tests.browser.browser_user import BrowserUser, sync_api

EPOCHS_STYLE = Path(live.__file__).with_name("epochs.css").read_text(encoding="utf-8")
LAYOUT = Path(__file__).with_name("layout.js").read_text(encoding="utf-8")
SCRIPT = Path(page_style.__file__).with_name("show_chosen_tab.js").read_text(encoding="utf-8")
PAGE = """
<style>* {margin: 0} [data-testid=stMain] {width: 600px} [data-testid=stElementContainer] {height: 100px}
  canvas, svg {display: block}</style>
<div data-testid="stMain"><h1>Title</h1><div style="%(box)s">
  <div data-testid="stElementContainer" class="st-key-runs" style="%(place)s">%(drawn)s</div></div>
  <div data-testid="stElementContainer" class="st-key-bar"><button style="height: 24px">Delete</button></div></div>
"""
TABLE, CHART = '<canvas style="%s"></canvas>', '<svg class="main-svg" style="%s"></svg>'
FITS, TALL, WIDE, HIGHER = (
    f"width: {width}px; height: {height}px{more}"
    for width, height, more in (
        (600, 100, ""),
        (600, 160, ""),
        (640, 100, ""),
        (600, 100, "; position: relative; top: -40px"),
    )
)


@pytest.fixture(scope="module")
def shared_window(browser: sync_api.Browser) -> Iterator[sync_api.Page]:
    page = browser.new_page()
    yield page
    page.close()


@pytest.fixture
def window(shared_window: sync_api.Page) -> sync_api.Page:
    """Return an empty page; to open one takes longer than a test."""
    shared_window.goto("about:blank")
    shared_window.set_viewport_size({"width": 800, "height": 600})
    return shared_window


@pytest.mark.parametrize(("drawn", "name"), [(TABLE, "table"), (CHART, "chart")])
@pytest.mark.parametrize(
    ("size", "faults"),
    [
        (FITS, []),
        (TALL, ["beyond its place: runs, 60 pixels below", "over its neighbour: runs | bar"]),
        (WIDE, ["beyond its place: runs, 40 pixels right"]),
        (HIGHER, ["beyond its place: runs, 40 pixels above"]),
    ],
)
def test_a_table_or_chart_that_is_larger_than_its_place_is_found(
    window: sync_api.Page, drawn: str, name: str, size: str, faults: list[str]
) -> None:
    assert _faults(window, drawn % size) == [f"{name} {fault}" for fault in faults]


def test_a_place_that_lies_over_the_next_one_is_found(window: sync_api.Page) -> None:
    faults = _faults(window, TABLE % FITS, place="margin-bottom: -30px")
    assert faults == ["table over its neighbour: runs | bar"]


def test_what_a_box_scrolls_lies_over_nothing(window: sync_api.Page) -> None:
    scrolling = _faults(window, TABLE % FITS, box="height: 50px; overflow: auto")
    assert scrolling == []
    assert _faults(window, TABLE % FITS, box="height: 50px") == ["table over its neighbour: runs | bar"]


def _faults(page: sync_api.Page, drawn: str, place: str = "", box: str = "") -> list[str]:
    page.set_content(PAGE % {"drawn": drawn, "place": place, "box": box})
    return [fault for fault in page.evaluate(LAYOUT)["faults"] if fault.startswith(("table", "chart"))]


@pytest.mark.parametrize(("width", "small"), [(390, True), (1280, False)])
def test_a_button_too_small_for_a_finger_is_found_on_a_phone(window: sync_api.Page, width: int, small: bool) -> None:
    window.set_viewport_size({"width": width, "height": 600})
    button = '<button style="width: %dpx; height: %dpx; padding: 0; border: 0">Close</button>'
    window.set_content(PAGE % {"drawn": button % (60, 20) + button % (24, 24), "place": "", "box": ""})
    found = [fault for fault in window.evaluate(LAYOUT)["faults"] if fault.startswith("small")]
    assert found == (["small for a finger: Close, 60 x 20 pixels"] if small else [])


@pytest.mark.parametrize(
    ("key", "widths"),
    [("calibration-method", (153, 148)), ("volumes-kind", (16, 87, 83, 43, 58)), ("runs-view", (29, 53, 57, 59))],
)
def test_the_choices_of_a_segmented_control_are_in_one_line_on_a_phone(
    window: sync_api.Page, key: str, widths: tuple[int, ...]
) -> None:
    window.set_viewport_size({"width": 390, "height": 600})
    theirs = "<style>button {padding: 0 1rem; border: 0} span {display: inline-block} #g {display: flex}</style>"
    items = "".join(
        f"<button data-variant=segmented_control><span style='width: {one}px'></span></button>" for one in widths
    )
    group = f"<div data-testid=stButtonGroup style='width: 358px'><div role=radiogroup id=g>{items}</div></div>"
    window.set_content(f"{theirs}{STYLE}<div class=st-key-{key}>{group}</div>")
    boxes = [one.bounding_box() for one in window.locator("button").all()]
    assert len({box["y"] for box in boxes}) == 1
    assert min(box["width"] for box in boxes) >= 36  # "all" and "1" are no narrower than a finger
    assert sum(box["width"] for box in boxes) <= (260 if key == "runs-view" else 358)  # the links stand beside it


@pytest.mark.parametrize(("width", "cut"), [(90, True), (300, False)])
def test_a_field_too_narrow_for_its_choice_or_example_is_found(window: sync_api.Page, width: int, cut: bool) -> None:
    texts = ("linear, seeds 1 to 3", "head = mlp and budget < 100")
    fields = f'<input role=combobox value="{texts[0]}"><input placeholder="{texts[1]}"><input value="{"a" * 200}">'
    style = f"<style>input {{width: {width}px; font: 14px sans-serif; padding: 0 8px}}</style>"
    window.set_content(PAGE % {"drawn": style + fields, "place": "", "box": ""})
    faults = [fault for fault in window.evaluate(LAYOUT)["faults"] if fault.startswith("cut")]
    assert faults == ([f"cut in its field: {text}" for text in texts] if cut else [])


def test_a_choice_on_a_second_line_has_a_border_on_its_left(window: sync_api.Page) -> None:
    window.set_viewport_size({"width": 390, "height": 600})
    theirs = (
        "<style>button {border: 1px solid gray} #g[id=g] button[data-variant] {border-left-color: transparent}</style>"
    )
    item = "<button data-variant=segmented_control %s>%s</button>"
    items = item % ("data-selected=true", "Platt") + item % ("", "Temperature")
    window.set_content(f"{theirs}{STYLE}<div data-testid=stButtonGroup><div role=radiogroup id=g>{items}</div></div>")
    colours = window.locator("button").evaluate_all("all => all.map((one) => getComputedStyle(one).borderLeftColor)")
    assert colours[0] == "rgba(0, 0, 0, 0)" != colours[1]  # the chosen one keeps its own


def test_the_key_of_a_setting_is_not_broken_by_a_long_value(window: sync_api.Page) -> None:
    theirs = "<style>table {display: inline-table; min-width: 100%} #t td p {overflow-wrap: normal}</style>"
    row = f"<tr><td><p><span>training.learning_rate</span></p><td><p>{'/' + 60 * 'a'}</p></tr>"
    table = f'<div data-testid=stTable style="width: 326px; font-size: 14px"><table id=t>{row}</table></div>'
    window.set_content(theirs + STYLE + table)
    assert window.locator("span").evaluate("one => one.getClientRects().length") == 1
    assert window.locator("table").evaluate("one => one.clientWidth") <= 326


def test_the_baseline_of_compare_is_small_enough_for_a_phone(window: sync_api.Page) -> None:
    window.set_viewport_size({"width": 390, "height": 600})
    theirs = "<style>input {font: 14px sans-serif; padding: 0 8px; width: 324px; box-sizing: content-box}</style>"
    field = '<input role=combobox value="budget 20 · mlp 128, seeds 1 to 3 · val. AUPRC .558">'
    drawn = f"{theirs}{STYLE}<div class=st-key-compare-runs><div data-testid=stSelectbox>{field}</div></div>"
    window.set_content(PAGE % {"drawn": drawn, "place": "", "box": ""})
    assert window.locator("input").evaluate("one => parseFloat(getComputedStyle(one).fontSize)") <= 13


def test_headings_of_settings_have_room_for_a_name(window: sync_api.Page) -> None:
    window.set_viewport_size({"width": 390, "height": 600})
    theirs = "<style>table {display: inline-table; min-width: 100%} th p {overflow-wrap: anywhere}</style>"
    texts = ("Setting", *["zscore · linear · seed 1"] * 4)
    head, body = ("".join(f"<{cell}><p>{text}</p>" for text in texts) for cell in ("th", "td"))
    table = f"<table><tr>{head}<tr>{body}</table>"
    window.set_content(f"{theirs}{STYLE}<div data-testid=stTable style='width: 358px; overflow: auto'>{table}</div>")
    key, *names = window.locator("th").evaluate_all("all => all.map((one) => one.clientWidth)")
    assert key >= 150 and min(names) >= 96


@pytest.mark.parametrize(
    ("key", "parts", "rows"),
    [
        (
            "runs-head",
            {"title": "0 0 80px", "runs-filter": "1 1 128px", "runs-filter-box": "0 0 93px"},
            [["title", "runs-filter-box"], ["runs-filter"]],
        ),
        (
            "runs-controls",
            {
                "runs-view": "0 0 252px",
                "runs-order": "0 0 170px",
                "columns": "0 0 107px",
                "views": "0 0 89px",
                "link": "0 0 92px",
            },
            [["runs-view", "link"], ["runs-order", "columns", "views"]],
        ),
        ("study-choice", {"study": "0 0 100%", "study-delete": "0 0 87px"}, [["study", "study-delete"]]),
        (
            "study-runs-filters",
            {"runs-budget": "0 0 180px", "runs-seed": "0 0 180px"},
            [["runs-budget", "runs-seed"]],
        ),
        ("compare-head", {"title": "0 0 120px", "on": "0 0 115px", "link": "1 1 128px"}, [["title", "on", "link"]]),
    ],
)
def test_a_phone_leaves_no_control_alone_in_a_row(
    window: sync_api.Page, key: str, parts: dict[str, str], rows: list[list[str]]
) -> None:
    window.set_viewport_size({"width": 390, "height": 600})
    theirs = "<style>.row {display: flex; flex-wrap: wrap; gap: 16px; width: 358px}</style>"
    drawn = "".join(
        f'<div id={name} class="st-key-{name}" style="flex: {flex}; height: 9px"></div>' for name, flex in parts.items()
    )
    window.set_content(f'{theirs}{STYLE}{RUNS_STYLE}<div class="row st-key-{key}">{drawn}</div>')
    places = {name: window.locator(f"#{name}").bounding_box() for name in parts}
    heights = sorted({place["y"] for place in places.values()})
    assert [[name for name in parts if places[name]["y"] == height] for height in heights] == rows
    assert max(place["x"] + place["width"] for place in places.values()) == pytest.approx(366, abs=1)  # its whole width


_TABS = """<style>[role=tablist] {display: flex; width: 358px; overflow-x: auto; gap: 16px} [role=tab] {flex: none}</style>
<div data-testid=stTabs><div role=tablist>%s</div></div>"""
_TAB = "<button data-testid=stTab role=tab style='width: %dpx; padding: 0; border: 0'>%s</button>"
_ARROW = 24  # pixels at each end of a list of tabs that scrolls


def test_a_chosen_tab_is_not_under_the_arrow_that_scrolls_tabs(window: sync_api.Page) -> None:
    window.set_viewport_size({"width": 390, "height": 600})
    window.set_content(STYLE + _TABS % "".join(_TAB % (80, name) for name in "abcdefgh"))
    tab, tabs = window.get_by_text("e"), window.locator("[role=tablist]").bounding_box()
    tab.evaluate("one => one.scrollIntoView({block: 'nearest', inline: 'nearest'})")  # as Streamlit does
    box = tab.bounding_box()
    assert tabs["x"] + _ARROW < box["x"] and box["x"] + box["width"] < tabs["x"] + tabs["width"] - _ARROW


def test_a_tab_that_no_click_has_chosen_is_in_sight(window: sync_api.Page) -> None:
    window.set_viewport_size({"width": 390, "height": 600})
    tabs = [_TAB % (80, name) for name in "abcdefgh"]
    tabs[6] = tabs[6].replace("role=tab", "role=tab aria-selected=true")
    window.set_content(f"{STYLE}<div style='height: 900px'></div>{_TABS % ''.join(tabs)}<script>{SCRIPT}</script>")
    frame = window.locator("[role=tablist]").bounding_box()
    window.wait_for_function("document.querySelector('[role=tablist]').scrollLeft > 0")
    box = window.get_by_text("g").bounding_box()
    assert frame["x"] + _ARROW < box["x"] and box["x"] + box["width"] < frame["x"] + frame["width"] - _ARROW
    select = "one => document.querySelectorAll('[role=tab]').forEach((tab) => (tab.ariaSelected = tab === one))"
    window.get_by_text("a").evaluate(select)  # as a step of Back does
    window.wait_for_function("document.querySelector('[role=tablist]').scrollLeft === 0")
    assert window.evaluate("scrollY") == 0  # the page stays where it was


def test_the_tabs_of_data_fit_a_phone(window: sync_api.Page) -> None:
    window.set_viewport_size({"width": 390, "height": 600})
    widths = (47, 105, 69, 91)  # Data set, Prepare manifests, Budget files, Compare labels
    window.set_content(_TABS % "".join(_TAB % (width, "") for width in widths) + STYLE)
    tabs, last = window.locator("[role=tablist]").bounding_box(), window.get_by_role("tab").last.bounding_box()
    assert last["x"] + last["width"] <= tabs["x"] + tabs["width"]


def test_a_command_in_a_caption_stays_in_one_line(window: sync_api.Page) -> None:
    text = "Changes nothing. <code>python -m ctbench_core doctor</code> runs the same checks."
    window.set_content(f"{STYLE}<div data-testid=stCaptionContainer style='width: 300px'><p>{text}</p></div>")
    assert window.locator("code").evaluate("one => one.getClientRects().length") == 1


def test_the_value_of_a_slider_stays_in_one_line(window: sync_api.Page) -> None:
    value = "<div data-testid=stMarkdownContainer style='width: 9px; white-space: nowrap'><p>0. 5 0</p></div>"
    window.set_content(f"{STYLE}<div data-testid=stMain>{value}</div>")
    assert window.locator("p").evaluate("one => one.scrollWidth") > 20


def test_a_caption_does_not_end_in_a_line_of_one_word(window: sync_api.Page) -> None:
    text = "Intervals are those of the precision among the first ten."
    window.set_content(f"{STYLE}<div data-testid=stMain><div data-testid=stCaptionContainer><p>{text}</p></div></div>")
    last = "(one) => {const range = document.createRange(); range.selectNodeContents(one); return [...range.getClientRects()].at(-1).width}"
    width = window.locator("p").evaluate("(one) => {one.style.width = 'max-content'; return one.clientWidth}")
    window.locator("p").evaluate(f"(one) => {{one.style.width = '{width - 4}px'}}")
    assert window.locator("p").evaluate(last) > width / 8


def test_buttons_of_pictures_are_spaced_like_those_of_streamlit(window: sync_api.Page) -> None:
    button = "<button class=ctbench-picture><span>icon</span>PNG</button>"
    window.set_content(f"{STYLE}<div>{button}{button}</div>")
    first, second = (one.bounding_box() for one in window.locator("button").all())
    assert second["x"] - first["x"] - first["width"] == 16  # the gap of a row of buttons
    gaps = window.locator("button").evaluate_all("all => all.map((one) => getComputedStyle(one).columnGap)")
    assert gaps == ["8px", "8px"]


def test_the_pairs_of_system_are_as_large_as_other_tables(window: sync_api.Page) -> None:
    window.set_content(f"{SYSTEM_STYLE}<table class=ctbench-pairs><tr><td>torch</td></tr></table>")
    assert window.locator("td").evaluate("one => getComputedStyle(one).fontSize") == "14px"


def test_an_axis_has_no_room_for_a_line_in_a_legend_of_curves(window: sync_api.Page) -> None:
    entry = "<tr class=u-series><th><div class=u-marker>x</div><div>epoch</div></th></tr>"
    window.set_content(f"<style>{EPOCHS_STYLE}</style><table class=u-legend>{entry}{entry}</table>")
    assert [one.is_visible() for one in window.locator(".u-marker").all()] == [False, True]


def test_plots_are_level_under_legends_of_different_heights(window: sync_api.Page) -> None:
    panel = """<section class=panel><header></header><div role=img><div class=uplot><div class=u-wrap style="height: 50px">
        </div><div class=u-legend style="height: %dpx"></div></div></div></section>"""
    window.set_content(f"<style>{EPOCHS_STYLE}</style><div class=panels>{panel % 20}{panel % 47}</div>")
    first, second = (one.bounding_box() for one in window.locator(".u-wrap").all())
    assert first["y"] == second["y"] and first["x"] < second["x"]


def test_the_machine_is_in_two_equal_columns_on_a_phone(window: sync_api.Page) -> None:
    window.set_viewport_size({"width": 390, "height": 600})
    row = "<div class=st-key-machine-%d style='display: flex; flex-wrap: wrap; gap: 1rem'>%s</div>"
    boxes = [f"<div style='flex: 1 1 auto'>{text}</div>" for text in ("Device", "Processors", "5.0 of 24 GiB", "64")]
    window.set_content(STYLE + row % (0, "".join(boxes[:2])) + row % (1, "".join(boxes[2:])))
    assert len({box.bounding_box()["width"] for box in window.locator("[class^=st-key-machine] > div").all()}) == 1


def test_a_card_of_a_run_takes_a_share_of_a_wide_window(window: sync_api.Page) -> None:
    panels = "<div><div class=st-key-runs-list></div></div><div><div class=st-key-run-panel></div></div>"
    window.set_content(f"{RUNS_STYLE}<div class=st-key-runs-split style='display: flex; gap: 1rem'>{panels}</div>")
    width = "one => one.parentElement.clientWidth"
    for window_width, low, high in ((1000, 384, 400), (1650, 600, 720)):
        window.set_viewport_size({"width": window_width, "height": 600})
        assert low <= window.locator(".st-key-run-panel").evaluate(width) <= high


def test_the_bar_above_runs_has_no_gap_for_what_a_phone_hides(window: sync_api.Page) -> None:
    window.set_viewport_size({"width": 390, "height": 600})
    hidden = (
        "<div><div class=st-key-runs-deleted-runs></div></div><div><div class=st-key-runs-hint-runs>Select</div></div>"
    )
    bar = f"<span id=count>24 runs</span>{hidden}<span id=csv>CSV</span>"
    window.set_content(f"{RUNS_STYLE}<div class=st-key-runs-bar style='display: flex'>{bar}</div>")
    count, csv = (window.locator(one).bounding_box() for one in ("#count", "#csv"))
    assert csv["x"] - count["x"] - count["width"] == pytest.approx(8, abs=1)


def test_the_page_makes_room_for_the_button_that_opens_the_navigation(user: BrowserUser) -> None:
    user.go("train")
    main = user.page.locator("[data-testid=stMainBlockContainer]")
    room = "one => parseFloat(getComputedStyle(one).paddingTop)"
    assert main.evaluate(room) < 16
    user.page.set_viewport_size({"width": 390, "height": 844})
    user.go("train")
    assert main.evaluate(room) > 40
    hidden = user.page.locator("[data-testid=stLayoutWrapper]:has(> .st-key-scripts)")
    assert hidden.evaluate("one => getComputedStyle(one).display") == "none"


def test_pages_fit_a_phone_and_a_finger(user: BrowserUser) -> None:
    user.page.set_viewport_size({"width": 390, "height": 844})
    user.use_demo()
    for address, part in (("train", "start"), ("data", "data.figures"), ("system", "diagnostics")):
        user.go(address)
        user.widget(part).wait_for()
        user.settle()
        assert user.page.evaluate(LAYOUT)["faults"] == [], address
