"""Measure the size of the product's code: ``python -m benchmarks.structure [project folder]``.

Counts files, lines, statements of the syntax tree, import edges as ``tests/test_layers.py`` counts them, files under
60 lines (without ``__init__.py``), and the median length of functions.
"""

from __future__ import annotations

import ast
import importlib.util
import statistics
import sys
from pathlib import Path
from types import ModuleType


def load_layers(project: Path) -> ModuleType:
    """Import the layer test of a project: it names the product's files and their imports."""
    spec = importlib.util.spec_from_file_location("layers", project / "tests" / "test_layers.py")
    assert spec is not None and spec.loader is not None
    layers = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(layers)
    return layers


def main() -> None:
    """Print one line a measure."""
    project = Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    layers = load_layers(project)
    sources: dict[str, Path] = layers.SOURCES
    lines = {module: path.read_text(encoding="utf-8").count("\n") for module, path in sources.items()}
    nodes = [node for path in sources.values() for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    edges = sum(
        len({target for name in layers.imports_of(module, path) if (target := layers._module(name))} - {module})
        for module, path in sources.items()
    )
    functions = [
        node.end_lineno - node.lineno + 1
        for node in nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None
    ]
    core = [module for module in sources if module.startswith("ctbench_core")]
    small = [module for module in sources if lines[module] < 60 and sources[module].name != "__init__.py"]
    print(f"files {len(sources)}, of them core {len(core)}")
    print(f"lines {sum(lines.values())}, statements {sum(isinstance(node, ast.stmt) for node in nodes)}")
    print(f"import edges {edges}, per file {edges / len(sources):.2f}")
    print(f"files under 60 lines {len(small)}, of them core {sum(m.startswith('ctbench_core') for m in small)}")
    print(f"functions {len(functions)}, median lines {statistics.median(functions):g}, longest {max(functions)}")


if __name__ == "__main__":
    main()
