"""The README's test command is the one that CI runs."""

from __future__ import annotations

import re
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
README = (PROJECT / "README.md").read_text(encoding="utf-8")


def test_ci_runs_the_readmes_test_command() -> None:
    assert re.search(r"<!-- test -->\n```sh\n.* && python -m pytest -n 2\n```", README)
    assert "<!-- test -->" in (PROJECT / ".ci" / "run").read_text(encoding="utf-8")


def test_documented_commands_are_quoted_for_bash_and_powershell() -> None:
    """Outside quotes, a word holds no sign that one of the shells would change; `<run id>` is for the reader."""
    texts = {
        path.name: path.read_text(encoding="utf-8") for path in [PROJECT / "README.md", *PROJECT.glob("docs/*.md")]
    }
    lines = {
        (name, line)
        for name, text in texts.items()
        for line in [
            *(
                line
                for block in re.findall(r"```(?:sh|powershell)\n(.*?)```", text, re.DOTALL)
                for line in block.splitlines()
            ),
            *re.findall(r"^\| .*?\| `(python -m ctbench_core [^`]+)`", text, re.MULTILINE),
        ]
        if re.search(r"(python -m ctbench_core|ctbench|pip install|uvx) ", line)
    }
    assert len(lines) > 20
    for name, line in sorted(lines):
        bare = re.sub(r"\"[^\"]*\"|'[^']*'|<[^>]*>|&&", "", line)
        assert not re.search(r"[,\[\](){}$;|&<>]", bare), (name, line)
        assert '"$' not in line.replace('"${PWD}', "").replace('"$PWD', ""), (name, line)
