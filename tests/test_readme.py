"""What the README tells a stranger to do works as it stands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[1]
README = (PROJECT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the README's code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = blocks("python")
    exec(compile(example, "README.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()[-1]
    auprc, auroc = map(float, re.findall(r"0\.\d+", printed))
    assert 0.45 < auprc < auroc < 0.9
    assert printed.endswith("patients")


def test_the_command_line_examples_run(cli: Callable[..., Any]) -> None:
    assert cli("demo").code == 0
    commands = next(block for block in blocks("sh") if "ctbench_core check" in block)
    for command in commands.strip().splitlines():
        run = max(Path("outputs/train").glob("2*"), default=Path())
        words = shlex.split(command.replace("outputs/train/<run id>", str(run)))[3:]
        quick = ["training.max_epochs=2"] if words[0] == "train" else []
        assert cli(*words, *quick).code == 0, command


def test_ci_runs_the_readmes_test_command() -> None:
    assert re.search(r"<!-- test -->\n```sh\n.* && python -m pytest\n```", README)
    assert "<!-- test -->" in (PROJECT / ".ci" / "run").read_text(encoding="utf-8")


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (PROJECT / target).exists(), target
