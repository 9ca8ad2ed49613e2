"""Write LaTeX tables: escaped text, cells with intervals, and the frame of a table (booktabs)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ctbench_core.formatting import format_metric

DIGITS = 3
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "·": r"$\cdot$",
    "→": r"$\to$",
    "–": "--",
    "−": "$-$",
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


def metric_cell(value: float, low: float, high: float, sd: float = math.nan, mark: str = "") -> str:
    """Return a metric with its SD over seeds and its interval, each where it is defined, as LaTeX."""
    spread = "" if math.isnan(sd) else f" ± {format_metric(sd, DIGITS)}"
    interval = "" if math.isnan(low) else f" [{format_metric(low, DIGITS)}, {format_metric(high, DIGITS)}]"
    return escape(format_metric(value, DIGITS)) + mark + escape(spread + interval)


def range_cell(value: float, low: float, high: float) -> str:
    """Return a mean over two seeds with their range, ``.842 (.840 to .844)``, as LaTeX."""
    number, *ends = (format_metric(x, DIGITS) for x in (value, low, high))
    return escape(number if math.isnan(low) else f"{number} ({' to '.join(ends)})")


def table(caption: str, columns: int, lines: Sequence[str]) -> str:
    """Return a floating table with one text column and others, shrunk only if it is wider than the page.

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
