"""Draw the course of a training."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from ctbench_core.declared import macro_keys, short_title
from ctbench_core.figures.layout import set_layout
from ctbench_core.palette import COLOURS


def epoch_curves(frame: pd.DataFrame) -> go.Figure:
    """Draw the losses and the validation metrics over epochs, one above the other.

    Args:
        frame: columns epoch, train_loss, val_loss and the keys of macro means.
    """
    names = {"train_loss": "training loss", "val_loss": "validation loss"}
    metrics = {key: short_title(key) for key in macro_keys() if key in frame}
    chart = go.Figure()
    for axis, lines in (("y", names), ("y2", metrics)):
        for place, (column, name) in enumerate(lines.items()):
            style = {"color": COLOURS[place], "dash": "dot" if axis == "y" else "solid"}
            chart.add_scatter(x=frame["epoch"], y=frame[column].astype(float), name=name, line=style, yaxis=axis)
    chart.update_layout(
        xaxis={"title": "epoch", "anchor": "y"},
        yaxis={"title": "loss", "domain": [0, 0.46]},
        yaxis2={"title": "validation", "domain": [0.54, 1]},
    )
    return set_layout(chart, height=640, legend_below=False)
