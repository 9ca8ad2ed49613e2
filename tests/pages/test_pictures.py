"""The zip of a page's figures; what a browser saves is in `tests/browser/test_pictures.py`."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import pytest
from plotly.utils import PlotlyJSONEncoder
from streamlit.testing.v1 import AppTest

from ctbench_core.figures import add_note_to_pictures, on_paper
from ctbench_ui.data.plots import co_occurrence
from ctbench_ui.shared.pictures import Figure, html_page, zip_figures
from ctbench_ui.studies.study_charts import heat_map, parallel

SHARES = pd.DataFrame({"first": [0.2, 0.9], "second": [0.62, float("nan")]}, index=["a", "b"])
TRIALS = pd.DataFrame({"value": [0.1, 0.9], "seed": [1, 2]})
COUNTS = pd.DataFrame([[4, 1], [1, 2]], list("ab"), list("ab"))


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


@pytest.mark.parametrize(
    "draw",
    [
        lambda dark: heat_map(SHARES, SHARES > 1, "auprc", dark),
        lambda dark: parallel(TRIALS, ["seed"], dark),
        lambda dark: co_occurrence(COUNTS, dark),
    ],
)
def test_the_files_of_a_colour_scale_are_for_white_paper_from_a_dark_page_too(
    draw: Callable[[bool], go.Figure],
) -> None:
    dark, white = add_note_to_pictures(draw(True), "428 volumes"), draw(False)
    assert _values(dark) != _values(white) == _values(on_paper(dark))
    page = html_page(dark, "A", "B", "directory").replace(" ", "")
    assert _scale(white) in page and _scale(dark) not in page
    assert white.layout.meta is None  # a light page has nothing to keep
    assert dark.layout.meta["picture"]["title"]["text"]


def _values(chart: go.Figure) -> list[dict[str, Any]]:
    """Return the traces of a chart with arrays as lists."""
    encoded = [json.dumps(trace.to_plotly_json(), cls=PlotlyJSONEncoder, sort_keys=True) for trace in chart.data]
    return [json.loads(text) for text in encoded]


def _scale(chart: go.Figure) -> str:
    """Return the colour scale of a chart as an HTML page has it."""
    trace = _values(chart)[0]
    return json.dumps(trace.get("colorscale") or trace["line"]["colorscale"]).replace(" ", "")


def _chart_both_ways() -> None:
    import numpy as np
    import plotly.graph_objects as go
    import streamlit as st

    from ctbench_ui.shared import pictures

    chart = go.Figure()
    chart.add_scatter(x=np.arange(3), y=np.array([0.1, 0.25, 1e-3], dtype=np.float32), name="single precision")
    chart.add_bar(x=["a", "b"], y=[1.5, None], marker={"color": np.array([0.5, 2.0])})
    chart.update_layout(title="A chart", xaxis={"range": [0, 2]})
    st.plotly_chart(chart, key="copied")
    pictures.draw_figure(chart, "uncopied", "A chart")


def test_a_chart_is_sent_as_streamlit_sends_it() -> None:
    charts = AppTest.from_function(_chart_both_ways).run().get("plotly_chart")
    copied, uncopied = (json.loads(chart.proto.spec) for chart in charts)
    assert uncopied["layout"] == copied["layout"]
    for sent, expected in zip(uncopied["data"], copied["data"], strict=True):
        assert sent.keys() == expected.keys()
        assert (sent["type"], sent.get("name")) == (expected["type"], expected.get("name"))
    # Streamlit packs arrays into bytes.
    assert [trace["x"] for trace in uncopied["data"]] == [[0, 1, 2], ["a", "b"]]
    assert [trace["y"] for trace in uncopied["data"]] == [[0.1, 0.25, 0.001], [1.5, None]]
    assert uncopied["data"][1]["marker"]["color"] == [0.5, 2.0]
