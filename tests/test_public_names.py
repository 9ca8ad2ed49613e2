"""The public names are one explicit list; everything else is private."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import ctbench_core

PUBLIC = [
    "Config",
    "CtbenchError",
    "InputError",
    "Manifest",
    "RunStore",
    "__version__",
    "align",
    "check",
    "evaluate_run",
    "load_features",
    "open_run",
    "read_manifest",
    "run_alignment",
    "run_experiment",
    "write_demo",
]


def test_public_names_are_these() -> None:
    assert sorted(ctbench_core.__all__) == PUBLIC
    assert sorted(dir(ctbench_core)) == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_each_resolves_and_is_documented(name: str) -> None:
    value = getattr(ctbench_core, name)
    assert value.__doc__


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = ctbench_core.nonsense


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        (
            "import ctbench_core; from ctbench_core import Config, open_run, read_manifest, check, run_experiment",
            ("torch", "sklearn", "streamlit", "hydra"),
        ),
        ("import ctbench_core.api", ("torch", "sklearn", "streamlit", "hydra", "plotly")),
        ("import ctbench_core.cli.main", ("torch", "sklearn", "streamlit")),
    ],
)
def test_what_is_imported_before_any_work_is_light(code: str, heavy: tuple[str, ...]) -> None:
    """A page and a `--help` must come within a second; torch alone takes longer."""
    command = [sys.executable, "-c", f"{code}; import sys; print([m for m in {heavy} if m in sys.modules])"]
    root = Path(__file__).resolve().parents[1]
    printed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_the_api_has_these_names_and_documents_them() -> None:
    import ctbench_core.api as api

    assert len(api.__all__) < 20
    for name in api.__all__:
        assert getattr(api, name).__doc__, name
