"""Load a room's files when their public names are first used, so that no program loads what it does not need.

A room's ``__init__.py`` imports its public names under ``if TYPE_CHECKING:``, where type checkers and people read them,
and then calls `load_on_use`.
"""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any


class _Room(ModuleType):
    """A package whose public names are imported from its files on first use."""

    def __getattr__(self, name: str) -> Any:
        file = self.__dict__["_files"].get(name)
        if file is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        value = self.__dict__[name] = getattr(importlib.import_module(file), name)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        # Python sets each loaded file as an attribute of its room; a public name of the same spelling goes first.
        if not (isinstance(value, ModuleType) and name in self._files):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._files})


def load_on_use(room: str) -> None:
    """Import the names under ``if TYPE_CHECKING:`` in the ``__init__.py`` of a room when they are first used."""
    module = sys.modules[room]
    tree = ast.parse(Path(str(module.__file__)).read_bytes())
    blocks = [node.body for node in tree.body if isinstance(node, ast.If)]
    imports = [node for block in blocks for node in block if isinstance(node, ast.ImportFrom)]
    module.__dict__["_files"] = {name.name: str(node.module) for node in imports for name in node.names}
    module.__class__ = _Room
