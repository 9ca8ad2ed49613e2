"""Colours of findings and charts."""

from __future__ import annotations

from collections.abc import Sequence

from ctbench_core.demo import FINDINGS as CT_RATE_FINDINGS

# Okabe and Ito's colours that are clear on white and on near-black. Eighteen findings need six colours times three
# dashes: no palette keeps eighteen hues distinct for colour-blind readers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("solid", "dash", "dot")
GREY = "#8A949E"
FINDINGS = tuple(CT_RATE_FINDINGS)


def finding_style(label: str, labels: Sequence[str]) -> tuple[str, str]:
    """Return the colour and dash of a finding: fixed for those of CT-RATE, by position for others."""
    place = FINDINGS.index(label) if label in FINDINGS else list(labels).index(label)
    return COLOURS[place % len(COLOURS)], DASHES[place // len(COLOURS) % len(DASHES)]


def finding_colour(label: str, labels: Sequence[str]) -> str:
    """Return a finding's colour for solid lines: its own hue, then a darker and a lighter shade of it."""
    colour, dash = finding_style(label, labels)
    towards, share = {"solid": (0, 0.0), "dash": (0, 0.35), "dot": (255, 0.45)}[dash]
    mixed = (round(int(colour[at : at + 2], 16) * (1 - share) + towards * share) for at in (1, 3, 5))
    return "#" + "".join(f"{part:02X}" for part in mixed)


def faint(colour: str, share: float) -> str:
    """Return a hex colour as the see-through colour of a band."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {share:g})"
