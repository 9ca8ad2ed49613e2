"""Imports go one way: a lower room never imports a higher one, and siblings leave each other alone."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]

# Room -> floor. A room may import rooms of lower floors only.
FLOORS = {
    "ctbench_core.errors": 0,
    "ctbench_core.progress": 0,
    "ctbench_core.formatting": 0,
    "ctbench_core.file_limit": 0,
    "ctbench_core.heap": 0,
    "ctbench_core.installation": 0,
    "ctbench_core.rooms": 0,
    "ctbench_core.atomic": 1,
    "ctbench_core.locks": 2,
    "ctbench_core.names": 1,
    "ctbench_core.demo": 2,
    "ctbench_core.palette": 3,
    "ctbench_core.figures": 7,
    "ctbench_core.declared": 1,
    "ctbench_core.conf": 1,
    "ctbench_core.schema": 1,
    "ctbench_core.query": 1,
    "ctbench_core.stored": 1,
    "ctbench_core.config": 2,
    "ctbench_core.overrides": 3,
    "ctbench_core.label_leakage": 3,
    "ctbench_core.tables": 3,
    "ctbench_core.manifest": 4,
    "ctbench_core.metrics": 4,
    "ctbench_core.runs": 5,
    "ctbench_core.features": 6,
    "ctbench_core.inference": 6,
    "ctbench_core.dataset": 7,
    "ctbench_core.train": 8,
    "ctbench_core.provenance": 9,
    "ctbench_core.evaluate": 9,
    "ctbench_core.alignment": 9,
    "ctbench_core.compare": 9,
    "ctbench_core.report": 10,
    "ctbench_core.checks": 11,
    "ctbench_core.bank_runs": 11,
    "ctbench_core.export": 11,
    "ctbench_core.experiment": 12,
    "ctbench_core.executors": 12,
    "ctbench_core.legacy": 13,
    "ctbench_core.doctor": 13,
    "ctbench_core.jobs": 13,
    "ctbench_core.studies": 13,
    "ctbench_core.cli": 14,
    "ctbench_core.api": 14,
    "ctbench_core.__main__": 15,
    "ctbench_core": 15,  # the public names, looked up by importlib on first use
    "ctbench_ui": 14,
    "pages": 15,
    "app": 15,
}


def sources() -> dict[str, Path]:
    files = [*PROJECT.glob("ctbench_core/**/*.py"), *PROJECT.glob("ctbench_ui/**/*.py"), *PROJECT.glob("pages/*.py")]
    files += [path for path in [PROJECT / "app.py"] if path.exists()]
    return {".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__"): path for path in files}


def room_of(module: str) -> str:
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "ctbench_core" else parts[0]


def imports_of(module: str, path: Path) -> set[str]:
    """Name every module that a file imports, inside functions too."""
    found = set()
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            up = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*(up if node.level else []), *([node.module] if node.module else [])])
            found |= {f"{base}.{alias.name}" for alias in node.names} | {base}
    return found


SOURCES = sources()
OURS = tuple(f"{name}." for name in ("ctbench_core", "ctbench_ui", "pages", "app"))


def test_every_room_has_a_floor() -> None:
    assert {room_of(module) for module in SOURCES} <= set(FLOORS)


@pytest.mark.parametrize("module", SOURCES)
def test_imports_lower_rooms_only(module: str) -> None:
    here = room_of(module)
    rooms = {room_of(name) for name in imports_of(module, SOURCES[module]) if f"{name}.".startswith(OURS)}
    # `from ctbench_core import __version__` reads the package's own attributes.
    climbs = {room for room in rooms - {here, "ctbench_core"} if room in FLOORS and FLOORS[room] >= FLOORS[here]}
    assert not climbs, f"{module} (floor {FLOORS[here]}) imports {climbs}"


# Rooms that load torch, or are entered by one file: others import their files, inside functions where torch matters.
BY_FILE = {"ctbench_core.train", "ctbench_core.alignment", "ctbench_core.legacy", "ctbench_core.cli"}


@pytest.mark.parametrize("module", [name for name in SOURCES if name.startswith(("ctbench_core", "ctbench_ui"))])
def test_other_rooms_are_used_through_their_public_names(module: str) -> None:
    nodes = ast.walk(ast.parse(SOURCES[module].read_text(encoding="utf-8")))
    files = [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module in SOURCES]
    inside = [
        file
        for file in files
        if file.startswith("ctbench_core.")
        and file.count(".") == 2  # a file of a room
        and (room := room_of(file)) not in BY_FILE
        and room_of(module) != room
    ]
    assert not inside, f"import from the room, not from its file: {inside}"


def test_modules_import_each_other_in_no_circle() -> None:
    graph = {
        module: {target for name in imports_of(module, path) if (target := _module(name)) and target != module}
        for module, path in SOURCES.items()
    }
    finished: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join([*trail, module])
        if module not in finished:
            for target in graph[module]:
                visit(target, (*trail, module))
            finished.add(module)

    for module in graph:
        visit(module, ())


def _module(name: str) -> str | None:
    """Return the file that an imported name leads to; a package's own names lead to its files."""
    while name and name not in SOURCES:
        name = name.rpartition(".")[0]
    # A package's __init__ re-exports its files: `from ctbench_core.x import y` inside x means the file.
    return None if not name or SOURCES[name].name == "__init__.py" else name


@pytest.mark.parametrize("module", [name for name in SOURCES if name.startswith("ctbench_core")])
def test_core_knows_no_screen(module: str) -> None:
    imported = {name.split(".")[0] for name in imports_of(module, SOURCES[module])}
    # Figures are this room's; the tables of runs write one as a file.
    draws = module.startswith("ctbench_core.figures") or module == "ctbench_core.legacy.aggregate"
    drawing = set() if draws else {"plotly"}
    assert not imported & ({"streamlit", "ctbench_ui", "pages", "app"} | drawing)


@pytest.mark.parametrize("module", [name for name in SOURCES if name.split(".")[0] in ("ctbench_ui", "pages", "app")])
def test_screen_does_not_import_the_command_line(module: str) -> None:
    assert not any(name.startswith("ctbench_core.cli") for name in imports_of(module, SOURCES[module]))


def test_every_package_has_an_init() -> None:
    folders = {path.parent for path in SOURCES.values() if path.is_relative_to(PROJECT / "ctbench_core")}
    assert not [folder for folder in folders if not (folder / "__init__.py").is_file()]


@pytest.mark.parametrize("module", SOURCES)
def test_files_stay_small(module: str) -> None:
    text = SOURCES[module].read_text(encoding="utf-8")
    long = [
        f"{node.name} ({node.end_lineno - node.lineno + 1} lines)"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef) and node.end_lineno is not None and node.end_lineno - node.lineno >= 55
    ]
    assert not long
    assert text.count("\n") <= 500
