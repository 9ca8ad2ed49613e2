"""Write tables of figures between marks of the benchmarks' README."""

from __future__ import annotations

from pathlib import Path

README = Path(__file__).with_name("README.md")


def put_between_marks(marks: tuple[str, str], text: str, readme: Path = README) -> None:
    """Replace what stands between two marks.

    Raises:
        ValueError: the README lacks a mark.
    """
    written = readme.read_text(encoding="utf-8")
    before, first, rest = written.partition(marks[0])
    _, second, after = rest.partition(marks[1])
    if not (first and second):
        raise ValueError(f"{readme} lacks {marks[0]} or {marks[1]}; write both where the table belongs")
    readme.write_text(f"{before}{marks[0]}\n\n{text}\n\n{marks[1]}{after}", encoding="utf-8")
