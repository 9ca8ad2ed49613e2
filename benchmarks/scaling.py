"""Measure how cost grows: alignment, loading and training over volumes, pages over runs.

``python -m benchmarks scaling [--only alignment rows pages]`` measures every size that is not in
``benchmarks/scaling.csv`` yet, so that a stopped run goes on; ``--again`` measures all of them. It then fits an exponent
to each kind of work, draws ``benchmarks/scaling.png``, and writes the table of ``benchmarks/README.md``. Whole processes
but for alignment and pages, whose start is left out. Idle, on two cores, about half an hour.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import alignment, pages, scale
from benchmarks.results_table import put_between_marks

TABLE, PICTURE = Path(__file__).with_name("scaling.csv"), Path(__file__).with_name("scaling.png")
MARKS = "<!-- scaling -->", "<!-- end of scaling -->"
VOLUMES = (2_000, 5_000, 10_000, 22_185, 47_149, 100_000)
ROWS = (1_000, 10_000, 50_000, 200_000, 1_000_000)
RUNS = (10, 100, 500, 1_000, 5_000)
LARGEST = 3  # sizes that the exponent is fitted to: below them, what every size pays hides the growth
ROUNDS = 3
_SIZE = 1300, 580  # of the picture, in pixels

Measured = tuple[str, float, float]  # work, seconds, peak GiB or NaN


def _alignment(volumes: int) -> Iterator[Measured]:
    result = alignment.measure("ctbench", volumes, "clip")
    yield "alignment", result["seconds"], result["peak_gib"]


def _rows(rows: int) -> Iterator[Measured]:
    with tempfile.TemporaryDirectory() as scratch:
        scale.make_data(Path(scratch), rows)
        steps = ("pack", "repack", "linear", "mlp", "evaluate")
        for step in scale.run_steps(Path(scratch), 0, list(steps)):
            yield step.name, step.seconds, step.anonymous
            if step.name == "linear":
                yield "load", step.parts["load"], np.nan


def _pages(runs: int) -> Iterator[Measured]:
    from tests.browser.browser_user import open_app
    from tests.browser.timings import measure

    with tempfile.TemporaryDirectory() as scratch:
        pages.prepare(Path(scratch), runs)
        with open_app(Path(scratch)) as new_user:
            timings = measure(new_user(), ROUNDS)
        for kind, milliseconds in timings.p95().items():
            yield f"p95 of {kind}", milliseconds / 1e3, np.nan


KINDS: dict[str, tuple[Callable[[int], Iterable[Measured]], tuple[int, ...], str]] = {
    "alignment": (_alignment, VOLUMES, "volumes"),
    "rows": (_rows, ROWS, "rows"),
    "pages": (_pages, RUNS, "runs"),
}


def measure_all(kinds: list[str], known: pd.DataFrame, store: Callable[[pd.DataFrame], None]) -> pd.DataFrame:
    """Measure the sizes of some kinds that are not known, and store the table after each.

    The table has the columns kind, work, size, seconds and peak_gib.
    """
    for kind in kinds:
        work, sizes, _ = KINDS[kind]
        for size in sizes:
            if ((known["kind"] == kind) & (known["size"] == size)).any():
                continue
            rows = [(kind, name, size, round(seconds, 4), peak) for name, seconds, peak in work(size)]
            print(*rows, sep="\n", flush=True)
            known = pd.DataFrame([*known.itertuples(index=False, name=None), *rows], columns=known.columns)
            store(known)
    return known


def exponent(sizes: np.ndarray, seconds: np.ndarray) -> float:
    """Return b of seconds = a * size**b, by least squares on the logarithms of the largest sizes; NaN for one size."""
    last = np.argsort(sizes)[-LARGEST:]
    if len(last) < 2:
        return float("nan")
    return float(np.polyfit(np.log(sizes[last]), np.log(seconds[last]), 1)[0])


def markdown(table: pd.DataFrame) -> str:
    """Return a row for each work: seconds and peak memory by size, and the exponent."""
    lines = []
    for kind, of_kind in table.groupby("kind", sort=False):
        sizes = sorted(of_kind["size"].unique())
        heads = [f"{size:,}" for size in sizes]
        lines += ["", f"| {KINDS[str(kind)][2]} | {' | '.join(heads)} | exponent |", "|---" * (len(sizes) + 2) + "|"]
        for work, rows in of_kind.groupby("work", sort=False):
            by_size = rows.set_index("size")
            cells = [_cell(by_size.loc[size]) if size in by_size.index else "" for size in sizes]
            power = exponent(rows["size"].to_numpy(float), rows["seconds"].to_numpy(float))
            lines.append(f"| {work} | {' | '.join(cells)} | {power:.2f} |")
    return "\n".join(lines).strip()


def _cell(row: pd.Series) -> str:
    seconds = float(row["seconds"])
    text = f"{seconds:.1f} s" if seconds >= 10 else f"{seconds:.2f} s" if seconds >= 0.2 else f"{1e3 * seconds:.0f} ms"
    return text if np.isnan(row["peak_gib"]) else f"{text}, {row['peak_gib']:.2f} GiB"


def draw(table: pd.DataFrame, picture: Path) -> None:
    """Draw seconds over size, both on log axes, one panel a kind with its legend below. Needs Chromium and Playwright."""
    import plotly.graph_objects as go
    from playwright.sync_api import sync_playwright
    from plotly.subplots import make_subplots

    from ctbench_core.palette import COLOURS
    from tests.browser.app_server import launch_browser

    kinds = list(dict.fromkeys(table["kind"]))
    figure = make_subplots(1, len(kinds), subplot_titles=[f"seconds by {KINDS[kind][2]}" for kind in kinds])
    for column, kind in enumerate(kinds, start=1):
        works, legend = table[table["kind"] == kind].groupby("work", sort=False), f"legend{column}".removesuffix("1")
        for (work, rows), colour in zip(works, COLOURS):
            power = exponent(rows["size"].to_numpy(float), rows["seconds"].to_numpy(float))
            style = {"name": f"{work}: {power:.2f}", "line": {"color": colour}, "mode": "lines+markers"}
            figure.add_trace(go.Scatter(x=rows["size"], y=rows["seconds"], legend=legend, **style), 1, column)
        left, _ = figure.layout[f"xaxis{column}".removesuffix("1")].domain
        place = {"x": left, "y": -0.12, "xanchor": "left", "yanchor": "top", "title": "exponents"}
        figure.update_layout({legend: place})
    figure.update_xaxes(type="log", dtick=1)
    figure.update_yaxes(type="log")
    figure.update_layout(template="plotly_white", width=_SIZE[0], height=_SIZE[1], showlegend=True)
    figure.update_layout(margin={"l": 50, "r": 20, "t": 40, "b": 190})
    with sync_playwright() as playwright:
        browser = launch_browser(playwright)
        page = browser.new_page(viewport={"width": _SIZE[0], "height": _SIZE[1]})
        page.set_content(figure.to_html(include_plotlyjs=True, config={"displayModeBar": False}))
        page.locator(".scatterlayer .trace").first.wait_for()
        page.screenshot(path=picture)
        browser.close()


def main(arguments: list[str] | None = None) -> None:
    """Measure what is missing, and write table and picture."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks scaling", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--again", action="store_true")
    options = parser.parse_args(arguments)
    known = pd.DataFrame(columns=["kind", "work", "size", "seconds", "peak_gib"])
    if TABLE.is_file():
        known = pd.read_csv(TABLE)
        known = known[~known["kind"].isin(options.only)] if options.again else known
    table = measure_all(options.only, known, lambda rows: rows.to_csv(TABLE, index=False))
    draw(table, PICTURE)
    put_between_marks(MARKS, markdown(table))
    print(markdown(table))


if __name__ == "__main__":
    main()
