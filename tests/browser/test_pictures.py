"""Charts saved as pictures by the browser, at the width of a page and in the colours of paper."""

from __future__ import annotations

import re
import struct
from pathlib import Path

from ctbench_ui.shared.style import SEQUENCE, sequence
from tests.browser.browser_user import BrowserUser

INK, PAPER = "rgb(27, 37, 48)", "rgb(255, 255, 255)"
WIDTH = 680  # pixels of 1/96 inch: 180 mm


def _save(user: BrowserUser, chart: str, ending: str) -> tuple[str, bytes]:
    """Press the button that saves a chart; return the name and content of the file."""
    button = user.page.locator(f"button[data-chart={chart}][data-ctbench-picture={ending}]")
    with user.page.expect_download() as download:
        button.press("Enter")
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def test_a_chart_is_saved_at_paper_size_in_the_dark_theme(reader: BrowserUser) -> None:
    reader.page.emulate_media(color_scheme="dark")
    reader.go("evaluate?tab=Curves")
    chart = reader.widget("chart-pr", ".js-plotly-plot")
    chart.locator(".xtitle").wait_for()
    shown = chart.evaluate("(chart) => [chart.layout.paper_bgcolor, chart._fullLayout.height]")
    name, svg = _save(reader, "chart-pr", "svg")
    text = svg.decode()
    assert re.fullmatch(r"[\w.-]+-test-pr\.svg", name)
    height = int(re.search(rf'<svg [^>]*width="{WIDTH}" height="(\d+)"', text)[1])
    assert height > shown[1]  # by the note that the page shows once
    assert re.search(r'class="xtitle"[^>]*>recall<', text)
    title = re.search(r'class="xtitle"[^>]*style="([^"]*)"', text)[1]
    assert f"fill: {INK}" in title and "Arial" in title  # the font in which its width was measured
    assert re.search(rf'<svg [^>]*><rect x="0" y="0" width="{WIDTH}"[^>]*fill: {re.escape(PAPER)}', text)
    name, png = _save(reader, "chart-pr", "png")
    assert name.endswith("-test-pr.png")
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", png[16:24]) == (WIDTH * 300 // 96, round(height * 300 / 96))
    # The chart on the page keeps its colours.
    assert chart.evaluate("(chart) => chart.layout.paper_bgcolor") == shown[0] != "#FFFFFF"


def test_a_picture_has_the_note_that_its_page_shows_once(reader: BrowserUser) -> None:
    reader.go("alignment")
    chart = reader.widget("chart-recall-instance", ".js-plotly-plot")
    chart.locator(".ytitle").wait_for()
    assert chart.locator(".gtitle").count() == 0
    shown = chart.evaluate("(chart) => [chart._fullLayout.height, chart._fullLayout._size.h]")
    svg = _save(reader, "chart-recall-instance", "svg")[1].decode()
    text = re.sub(r"<[^>]+>", " ", svg)
    assert "label origin:" in re.sub(r"\s+", " ", text)
    height = int(re.search(r'<svg [^>]*height="(\d+)"', svg)[1])
    assert height > shown[0]
    assert chart.evaluate("(chart) => [chart._fullLayout.height, chart._fullLayout._size.h]") == shown
    assert chart.locator(".gtitle").count() == 0


def test_plotlys_own_camera_is_hidden_beside_the_buttons_that_save_on_paper(reader: BrowserUser) -> None:
    reader.page.emulate_media(color_scheme="dark")
    reader.go("evaluate?tab=Curves")
    chart = reader.widget("chart-pr", ".js-plotly-plot")
    chart.locator(".xtitle").wait_for()
    chart.hover()
    chart.locator(".modebar-btn[data-title^=Zoom]").first.wait_for()
    camera = chart.locator(".modebar-btn[data-title^=Download]")
    assert camera.count() == 1 and not camera.is_visible()  # it would save the dark theme


def test_a_heat_map_of_a_dark_page_is_saved_in_the_colours_of_paper(reader: BrowserUser) -> None:
    reader.page.emulate_media(color_scheme="dark")
    reader.go("data")
    reader.press("check")
    reader.click(reader.page.get_by_role("tab", name="Co-occurrence"))
    chart = reader.widget("chart-together", ".js-plotly-plot")
    chart.locator(".cbfill").wait_for(state="attached")
    shown = chart.evaluate("(chart) => chart.data[0].colorscale.map(([at, colour]) => colour)")
    assert shown == list(sequence(dark=True))
    svg = _save(reader, "chart-together", "svg")[1].decode()
    stops = re.findall(r'<stop offset="([\d.]+)%"[^>]*stop-color[:=]\s*"?(rgb\([^)]*\)|#\w+)', svg)
    assert [_hex(colour) for _, colour in sorted(stops, key=lambda stop: float(stop[0]))] == list(SEQUENCE)
    assert chart.evaluate("(chart) => chart.data[0].colorscale.map(([at, colour]) => colour)") == shown


def _hex(colour: str) -> str:
    numbers = re.findall(r"\d+", colour) if colour.startswith("rgb") else []
    return f"#{''.join(f'{int(number):02X}' for number in numbers)}" if numbers else colour.upper()
