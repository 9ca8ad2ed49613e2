"""Where the program's own files lie, in a clone or in an installed package, how it is called, and what it can be extended by."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_MODULE = "python -m ctbench_core"


def version() -> str:
    """Return the version of this program."""
    from ctbench_core import __version__

    return __version__


@functools.cache
def source_tree() -> Path | None:
    """Return the folder of the clone that this code runs in; None where the package is installed."""
    root = _PACKAGE.parent
    project = root / "pyproject.toml"
    is_ours = project.is_file() and 'name = "ctbench"' in project.read_text(encoding="utf-8")
    return root if is_ours else None


def reference_folder() -> Path:
    """Return the folder of published results and label maps; the wheel holds a copy of ``data/reference``."""
    root = source_tree()
    return root / "data" / "reference" if root else _PACKAGE / "reference"


def program() -> str:
    """Return how this program was started, for commands that people copy."""
    return "ctbench" if Path(sys.argv[0]).stem == "ctbench" else _MODULE


def install_command(extra: str) -> str:
    """Return the command that installs the packages of an extra, quoted for bash and PowerShell."""
    return f'python -m pip install "ctbench[{extra}]"'
