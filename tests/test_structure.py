"""docs/structure.md lists every room, and every file that the docs name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
STRUCTURE = (PROJECT / "docs" / "structure.md").read_text(encoding="utf-8")
DOCS = [*PROJECT.glob("docs/**/*.md"), PROJECT / "CONTRIBUTING.md", PROJECT / "README.md"]


def _listed(title: str) -> dict[str, str]:
    """Return room -> sentence of the table whose first column has this title."""
    table = STRUCTURE.split(f"| {title} | what it does |")[1].split("\n\n")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", table, re.MULTILINE))


def _rooms(package: str) -> set[str]:
    folder = PROJECT / package
    files = {path.stem for path in folder.glob("*.py") if not path.stem.startswith("__")}
    return files | {path.parent.name for path in folder.glob("*/__init__.py")}


@pytest.mark.parametrize(("title", "package"), [("core", "ctbench_core"), ("app", "ctbench_ui")])
def test_every_room_is_listed_with_one_sentence(title: str, package: str) -> None:
    listed = _listed(title)
    assert set(listed) == _rooms(package)
    assert all(text.endswith(".") and ". " not in text for text in listed.values())


@pytest.mark.parametrize("document", DOCS, ids=lambda path: path.name)
def test_files_that_docs_name_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    named = re.findall(r"`((?:ctbench_core|ctbench_ui|tests|pages|benchmarks|docs|examples)/[\w./]+\.\w+)`", text)
    missing = [name for name in named if not (PROJECT / name).exists()]
    inside = [
        name for name in re.findall(r"`((?:\w+/)+\w+\.py)`", text) if not name.startswith("scripts/")
    ]  # older system
    roots = [PROJECT, PROJECT / "ctbench_core", PROJECT / "ctbench_ui"]
    missing += [name for name in inside if not any((root / name).exists() for root in roots)]
    assert not missing


@pytest.mark.parametrize(
    "document", sorted({*DOCS, *PROJECT.glob("*.md"), *PROJECT.glob("benchmarks/*.md")}), ids=lambda path: path.name
)
def test_no_document_holds_both_sides_of_a_merge(document: Path) -> None:
    marks = [line for line in document.read_text(encoding="utf-8").splitlines() if re.match(r"(<{7}|>{7}|={7}$)", line)]
    assert not marks
