"""Pieces of LaTeX tables: escaped text, figures as papers print them, and the frame of a table (booktabs)."""

from __future__ import annotations

import math
from collections.abc import Sequence

DIGITS = 3
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "·": r"$\cdot$",
    "→": r"$\to$",
    "–": "--",
    "±": r"$\pm$",
    "∞": r"$\infty$",
    "×": r"$\times$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
}
# For documents without booktabs or graphicx; where they are loaded, these do nothing.
_FALLBACKS = (
    "\\providecommand{\\toprule}{\\hline}\\providecommand{\\midrule}{\\hline}\\providecommand{\\bottomrule}{\\hline}",
    "\\providecommand{\\addlinespace}{}\\providecommand{\\resizebox}[3]{#3}",
)


def escape(text: str) -> str:
    """Return plain text as LaTeX."""
    return "".join(_SPECIAL.get(letter, letter) for letter in text)


def share(value: float) -> str:
    """Write a share as papers do (``.842``); undefined as two dashes."""
    return "--" if value is None or math.isnan(value) else f"{value:.{DIGITS}f}".replace("0.", ".", 1)


def cell(value: float, low: float, high: float, sd: float = math.nan, mark: str = "") -> str:
    """Write a figure with its spread over seeds and its interval, each where it is known."""
    spread = "" if math.isnan(sd) else f" $\\pm$ {share(sd)}"
    bounds = "" if math.isnan(low) else f" [{share(low)}, {share(high)}]"
    return share(value) + mark + spread + bounds


def table(caption: str, columns: int, lines: Sequence[str]) -> str:
    """Return a floating table of one text column and others, shrunk only where it is wider than the page.

    Args:
        caption: as LaTeX. lines: the rows between the first and the last rule, as LaTeX.
    """
    return "\n".join(
        [
            "% looks best with \\usepackage{booktabs,graphicx}; without them it still compiles",
            "\\begin{table}",
            *_FALLBACKS,
            "\\centering\\footnotesize",
            f"\\caption{{{caption}}}",
            "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%",
            f"\\begin{{tabular}}{{l{'l' * columns}}}",
            "\\toprule",
            *lines,
            "\\bottomrule",
            "\\end{tabular}}",
            "\\end{table}",
            "",
        ]
    )
