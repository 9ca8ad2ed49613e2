"""Colours of findings and charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ctbench_core.demo import FINDINGS as CT_RATE_FINDINGS

# Okabe and Ito's colours, orange and sky blue darkened: each has a contrast of 3:1 on the white and on the dark page.
# Eighteen findings need six colours times three dashes: no palette keeps eighteen hues distinct for colour-blind readers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#C48700", "#4999C6")
DASHES = ("solid", "dash", "dot")
GREY = "#8A949E"
FINDINGS = tuple(CT_RATE_FINDINGS)


def finding_style(label: str, labels: Sequence[str]) -> tuple[str, str]:
    """Return the colour and dash of a finding: fixed for those of CT-RATE, by position for others."""
    return line_style(FINDINGS.index(label) if label in FINDINGS else list(labels).index(label))


def line_style(place: int) -> tuple[str, str]:
    """Return the colour and dash of a line by its place: 18 differ."""
    return COLOURS[place % len(COLOURS)], DASHES[place // len(COLOURS) % len(DASHES)]


def keep_places(names: Sequence[str], places: Mapping[str, int]) -> dict[str, int]:
    """Return a place for each line: the one it had, unless another line shown has it, else the first free one.

    Args:
        names: of the lines. places: those that lines had before, by name.
    """
    kept: dict[str, int] = {}
    for name in names:
        if name in places and places[name] not in kept.values():
            kept[name] = places[name]
    for name in names:
        if name not in kept:
            kept[name] = next(place for place in range(len(names)) if place not in kept.values())
    return kept


def white_is_clearer(values: ArrayLike, scale: Sequence[tuple[float, str]]) -> NDArray[np.bool_]:
    """Return where white text has more contrast than black text on the colour of a value, by WCAG 2; NaN has none.

    Args:
        scale: the places of the colours between which a chart interpolates, in rising order, and the colours.
    """
    places = [place for place, _ in scale]
    channels = np.array([[int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)] for _, colour in scale])
    parts = np.stack([np.interp(np.asarray(values, float), places, channel) for channel in channels.T], axis=-1)
    light = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]
    return np.asarray(1.05 / (light + 0.05) > (light + 0.05) / 0.05)


def faint(colour: str, share: float) -> str:
    """Return a hex colour as the see-through colour of a band."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {share:g})"
