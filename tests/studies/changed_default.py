"""Run the command line as after a code change: ``changed_default.py KEY DEFAULT VERB ...`` edits a key as it loads."""

from __future__ import annotations

import importlib.machinery
import re
import sys
from types import CodeType
from typing import Any

KEY, DEFAULT, *ARGUMENTS = sys.argv[1:]


_found: list[int] = []


class _Edited(importlib.machinery.SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        source = self.get_data(self.path).decode("utf-8")
        edited, count = re.subn(rf"(\b{KEY}: \w+ = key\(\s*)[^,]+,", rf"\g<1>{DEFAULT},", source)
        _found.append(count)
        return self.source_to_code(edited.encode("utf-8"), self.path)


class _Finder:
    @staticmethod
    def find_spec(name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if not name.startswith("ctbench_core.config."):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        assert spec is not None and spec.origin is not None
        spec.loader = _Edited(name, spec.origin)
        return spec


if __name__ == "__main__":
    sys.meta_path.insert(0, _Finder)  # type: ignore[arg-type]
    from ctbench_core.cli.main import main

    assert sum(_found) == 1, f"{KEY} is declared {sum(_found)} times"
    sys.exit(main(ARGUMENTS))
