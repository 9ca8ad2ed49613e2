"""Packages: what is declared is used, what is used is declared, and pins, lock and licences agree with both."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PROJECT = Path(__file__).resolve().parents[1]
DECLARED = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = {name: lines for name, lines in DECLARED["optional-dependencies"].items() if name not in ("dev", "docs")}
# Name on the index -> name in an import, where they differ.
IMPORTS = {"scikit-learn": "sklearn", "hydra-core": "hydra", "pyyaml": "yaml"}
# Used through another package: by fsspec for s3://, by Streamlit for sign-in, by Optuna for the importance of settings.
INDIRECT = {"s3fs", "authlib", "httpx", "scikit-learn"}
# Imported, and always brought by what is declared.
BROUGHT = {"starlette": "streamlit", "dask": "distributed", "botocore": "s3fs", "aiohttp": "s3fs", "umap": ""}


def names(lines: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in lines}


def pins(file: str) -> dict[str, set[str]]:
    """Return the versions of each package of a file."""
    found: dict[str, set[str]] = {}
    for line in (PROJECT / file).read_text(encoding="utf-8").splitlines():
        if "==" in line and not line.startswith("#"):
            requirement = Requirement(line)
            found.setdefault(canonicalize_name(requirement.name), set()).add(
                str(requirement.specifier).removeprefix("==")
            )
    return found


def imported(package: str) -> set[str]:
    """Return the top names of third parties that the files of a package import."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in (PROJECT / package).rglob("*.py"))
    tops = {
        top for pair in re.findall(r"^\s*(?:import (\w+)|from (\w+)[\w.]* import )", text, re.MULTILINE) for top in pair
    }
    own = {"ctbench_core", "ctbench_ui", "ctbench"}
    return {name for name in tops - own if name and name not in sys.stdlib_module_names and not name.startswith("_")}


@pytest.mark.parametrize(
    ("package", "lines"),
    [("ctbench_core", DECLARED["dependencies"]), ("ctbench_ui", EXTRAS["app"])],
    ids=["core", "app"],
)
def test_what_is_declared_is_imported(package: str, lines: list[str]) -> None:
    used = imported(package)
    unused = {name for name in names(lines) if IMPORTS.get(name, name.replace("-", "_")) not in used}
    assert not unused - INDIRECT


def test_what_is_imported_is_declared() -> None:
    core, extras = names(DECLARED["dependencies"]), names([line for lines in EXTRAS.values() for line in lines])
    known = {IMPORTS.get(name, name.replace("-", "_")) for name in core | extras} | set(BROUGHT)
    assert imported("ctbench_core") - known == set()
    assert imported("ctbench_ui") - known == set()
    assert {"streamlit", "starlette"}.isdisjoint(imported("ctbench_core"))


def test_pins_lock_and_lower_bounds_agree() -> None:
    required, locked = pins("requirements.txt"), pins("constraints.txt")
    assert {name: locked.get(name) for name in required} == required
    lines = [
        *DECLARED["dependencies"],
        *(line for name in ("app", "auth", "h5", "remote", "cluster") for line in EXTRAS[name]),
    ]
    for line in lines:
        requirement = Requirement(line)
        versions = locked[canonicalize_name(requirement.name)]
        assert all(requirement.specifier.contains(Version(version)) for version in versions), line
    assert names(DECLARED["dependencies"]) | names(EXTRAS["app"]) <= set(required)


def test_licences_are_listed() -> None:
    listed = re.findall(
        r"^\| ([\w.-]+) \| (?!not stated)", (PROJECT / "LICENCES.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    lines = [*DECLARED["dependencies"], *(line for lines in EXTRAS.values() for line in lines)]
    assert names(lines) <= set(listed)
