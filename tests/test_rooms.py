"""A room's public names are those of its files, whatever is loaded first, and loading one loads no other."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
ROOMS = sorted(
    path.parent.name
    for path in PROJECT.glob("ctbench_core/*/__init__.py")
    if "load_on_use(" in path.read_text(encoding="utf-8")
)


def _public(room: str) -> dict[str, str]:
    """Return the public names of a room and their files, from its source."""
    tree = ast.parse((PROJECT / "ctbench_core" / room / "__init__.py").read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {
        alias.name: str(node.module)
        for node in imports
        if str(node.module).startswith(f"ctbench_core.{room}.")
        for alias in node.names
    }


@pytest.mark.parametrize("room", ROOMS)
def test_public_names_are_those_of_the_files_also_after_files_of_the_same_names(room: str) -> None:
    package, public = importlib.import_module(f"ctbench_core.{room}"), _public(room)
    for name in public:  # `audit` of features, `prepare` of manifest ... are files and functions
        if (PROJECT / "ctbench_core" / room / f"{name}.py").is_file():
            importlib.import_module(f"ctbench_core.{room}.{name}")
    for name, file in public.items():
        assert getattr(package, name) is getattr(importlib.import_module(file), name)
    assert set(public) <= set(dir(package))
    with pytest.raises(AttributeError, match=f"'ctbench_core.{room}' has no attribute 'nonsense'"):
        _ = package.nonsense


@pytest.mark.parametrize(
    ("code", "without"),
    [
        (
            "import ctbench_core.cli.main as m; m.main(['--help']); m.main(['nosuch']); m.main([])",
            ("torch", "pandas", "numpy", "hydra"),
        ),
        (
            "import ctbench_core.cli.main as m\n"
            "for words in (['train', '--help'], ['check', '--nosuch']):\n"
            "    try: m.main(words)\n"
            "    except SystemExit: pass",
            ("torch", "pandas", "numpy", "hydra"),
        ),
        (
            "import ctbench_core.cli.main as m\n"
            "for verb in ('train', 'evaluate', 'align', 'check', 'pack', 'agree', 'doctor'):\n"
            "    assert m.main([verb, 'nosuch=1']) == 2",
            ("torch", "pandas", "pyarrow"),
        ),
        (
            "import ctbench_core.cli.main as m; assert m.main(['check', 'paths.manifest_dir=nowhere']) == 2",
            ("torch", "scipy", "sklearn"),
        ),
    ],
    ids=["help", "help of a verb, wrong flag", "wrong key", "check"],
)
def test_a_command_loads_what_it_needs(code: str, without: tuple[str, ...], tmp_path: Path) -> None:
    """Torch takes a second to load, pandas a quarter."""
    code += f"\nimport sys; print('loaded', [name for name in {without} if name in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.splitlines()[-1] == "loaded []"


def test_a_file_and_a_public_name_may_have_one_spelling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = tmp_path / "some_room"
    room.mkdir()
    imports = "from some_room.audit import audit\n    from some_room.rules import limits"
    (room / "__init__.py").write_text(
        f"from typing import TYPE_CHECKING\nfrom ctbench_core.rooms import load_on_use\nif TYPE_CHECKING:\n    {imports}\n"
        "load_on_use(__name__)\n"
    )
    (room / "audit.py").write_text("from some_room.limits import most\ndef audit(): return most\n")
    (room / "rules.py").write_text("def limits(): return 2\n")
    (room / "limits.py").write_text("most = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    import some_room

    assert "some_room.audit" not in sys.modules
    from some_room.audit import audit

    assert some_room.audit is audit and some_room.limits() == 2 and audit() == 3
