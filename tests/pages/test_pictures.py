"""The zip of a page's figures; what a browser saves is in `tests/browser/test_pictures.py`."""

from __future__ import annotations

import io
import zipfile

import pandas as pd
import plotly.graph_objects as go

from ctbench_ui.shared.pictures import Figure, zip_figures


def test_a_zip_holds_every_figure_and_the_drawing_code_once() -> None:
    frame = pd.DataFrame({"finding": ["Mass"], "auprc": [0.1234567890123]})
    figures = [Figure(name, go.Figure(), frame, f"What {name} shows") for name in ("Mass/a", "Mass?a")]
    with zipfile.ZipFile(io.BytesIO(zip_figures(figures, "run <1>", "428 volumes", None))) as archive:
        names = ["01-Mass_a.html", "01-Mass_a.csv", "02-Mass_a.html", "02-Mass_a.csv"]
        assert archive.namelist() == ["README.txt", "plotly.min.js", *names]
        page, readme = archive.read(names[0]).decode(), archive.read("README.txt").decode()
        assert "0.1234567890123" in archive.read(names[1]).decode()
    assert len(page) < 10_000 and 'src="plotly.min.js"' in page
    assert "What Mass/a shows. 428 volumes" in page and "run &lt;1&gt;" in page
    assert "428 volumes" in readme and "PNG" in readme
