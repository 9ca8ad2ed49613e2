"""Run the notebook of the examples from start to end, and store its outputs.

    python docs/notebook.py        run examples/demo.ipynb in an empty folder, and write it with its outputs

Figures are stored as Plotly draws them, and as pictures for viewers that run no scripts. Chromium and Playwright are
needed for the pictures. Cells run in this process, as in a notebook: the value of a last expression is shown.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
NOTEBOOK = PROJECT / "examples" / "demo.ipynb"
PLOTLY = "application/vnd.plotly.v1+json"
WIDTH = 900  # pixels of a picture


def read_notebook(path: Path = NOTEBOOK) -> dict[str, Any]:
    """Read a notebook."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def run_cells(notebook: dict[str, Any], picture: Callable[[Any], bytes] | None = None) -> dict[str, Any]:
    """Return a notebook with the outputs of its cells, run in the working folder.

    Args:
        picture: makes the PNG of a figure; without it, none is stored.
    """
    scope: dict[str, Any] = {"__name__": "__main__"}
    cells, count = [], 0
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            count += 1
            outputs = list(_run(source_of(cell), scope, count, picture))
            cells.append({**cell, "execution_count": count, "outputs": outputs})
        else:
            cells.append(cell)
    return {**notebook, "cells": cells}


def source_of(cell: dict[str, Any]) -> str:
    """Return the text of a cell."""
    return "".join(cell["source"])


def _run(source: str, scope: dict[str, Any], count: int, picture: Callable[[Any], bytes] | None) -> Iterator[Any]:
    """Run a cell, and yield what it prints, then the value of its last expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed, value = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, f"cell {count}", "exec"), scope)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), f"cell {count}", "eval"), scope)
    if printed.getvalue():
        yield {"name": "stdout", "output_type": "stream", "text": _lines(printed.getvalue())}
    if value is not None:
        data = _data(value, picture)
        yield {"data": data, "execution_count": count, "metadata": {}, "output_type": "execute_result"}


def _data(value: Any, picture: Callable[[Any], bytes] | None) -> dict[str, Any]:
    """Return what a notebook shows of a value, by MIME type."""
    if hasattr(value, "to_plotly_json"):
        data = {PLOTLY: json.loads(value.to_json()), "text/plain": ["Figure"]}
        return data | ({"image/png": base64.b64encode(picture(value)).decode()} if picture else {})
    data = {"text/plain": _lines(repr(value))}
    return data | ({"text/html": _lines(value._repr_html_())} if hasattr(value, "_repr_html_") else {})


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def _smaller(png: bytes) -> bytes:
    """Return a picture with few colours: a quarter of the size."""
    from PIL import Image

    few, file = Image.open(io.BytesIO(png)).convert("RGB").quantize(128, dither=Image.Dither.NONE), io.BytesIO()
    few.save(file, "PNG", optimize=True)
    return file.getvalue()


@contextlib.contextmanager
def open_pictures() -> Iterator[Callable[[Any], bytes]]:
    """Open a browser, and give the function that takes the picture of a figure."""
    from playwright.sync_api import sync_playwright

    from tests.browser.app_server import launch_browser

    with sync_playwright() as playwright:
        browser = launch_browser(playwright)
        page = browser.new_page(viewport={"width": WIDTH, "height": 900}, device_scale_factor=1.5)

        def take(figure: Any) -> bytes:
            # A figure without a width of its own fills the page.
            page.set_content(figure.to_html(include_plotlyjs=True, config={"displayModeBar": False}))
            page.locator(".main-svg").first.wait_for(state="visible")
            return _smaller(page.locator(".js-plotly-plot").screenshot())

        yield take
        browser.close()


def main() -> int:
    """Run the notebook, and write it with its outputs."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), open_pictures() as picture:
        notebook = run_cells(read_notebook(), picture)
    NOTEBOOK.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(PROJECT))
    sys.exit(main())
