"""The README's test command is the one that CI runs."""

from __future__ import annotations

import re
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
README = (PROJECT / "README.md").read_text(encoding="utf-8")


def test_ci_runs_the_readmes_test_command() -> None:
    assert re.search(r"<!-- test -->\n```sh\n.* && python -m pytest -n 2\n```", README)
    assert "<!-- test -->" in (PROJECT / ".ci" / "run").read_text(encoding="utf-8")
