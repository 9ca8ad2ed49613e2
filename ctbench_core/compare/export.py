"""The files of a comparison, in one folder or as bytes: tables as CSV and LaTeX, Methods, and the whole as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ctbench_core.atomic import dump_json, write_text
from ctbench_core.compare.comparison import Comparison
from ctbench_core.compare.paper import latex_table, methods_paragraph, paper_frame
from ctbench_core.runs import Run


def paper_files(found: Comparison, runs: Sequence[Run] = ()) -> dict[str, str]:
    """Return the texts of a comparison's files, by file name."""
    frame = paper_frame(found)
    return {
        "table.csv": found.marks.add_to(frame).to_csv(index=False, lineterminator="\n"),
        "table.tex": latex_table(found, frame),
        "methods.txt": methods_paragraph(found, runs) + "\n",
        "differences.csv": found.marks.add_to(found.differences).to_csv(index=False, lineterminator="\n"),
        "comparison.json": dump_json(found.to_json([str(run.paths.root) for run in runs]), indent=1) + "\n",
    }


def write_paper(folder: Path | str, found: Comparison, runs: Sequence[Run] = ()) -> list[str]:
    """Write the files of a comparison into a folder, and return their names."""
    files = paper_files(found, runs)
    for name, text in files.items():
        write_text(Path(folder) / name, text)
    return list(files)
