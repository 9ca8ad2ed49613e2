"""Python, packages, devices, threads and memory."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import tomllib
from pathlib import Path

import psutil
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from ctbench_core.config import Config
from ctbench_core.doctor.diagnosis import ERROR, OK, WARNING, Finding, counted

PROJECT = Path(__file__).resolve().parents[2]
_INSTALL = "python -m pip install -r requirements.txt"
_SCARCE_MEMORY = 2 * 2**30


def python(config: Config) -> Finding:
    """Compare the version of Python with what the project asks for."""
    asked, _ = _declared()
    found = platform.python_version()
    if asked and not SpecifierSet(asked).contains(found, prereleases=True):
        return Finding(ERROR, f"Python {found}; expected {asked}", "Make a virtual environment with such a Python.")
    return Finding(OK, f"Python {found}")


def packages(config: Config) -> Finding:
    """Compare the installed packages with what the project asks for, and with the versions it was tested with."""
    _, asked = _declared()
    wanted, pins = [Requirement(line) for line in asked], _pins()
    missing = [one.name for one in wanted if _installed(one.name) is None]
    unfit = [
        f"{one.name} {_installed(one.name)} (expected {one.specifier})"
        for one in wanted
        if one.name not in missing and not one.specifier.contains(str(_installed(one.name)), prereleases=True)
    ]
    if missing or unfit:
        return Finding(ERROR, "; ".join([*(f"{name} is missing" for name in missing), *unfit]), _INSTALL)
    tested = {one.name: pin for one in wanted if (pin := pins.get(canonicalize_name(one.name)))}
    # A local part such as +cu128 or +cpu is another build of the same version.
    other = [
        f"{name} {found} (tested with {pin})"
        for name, pin in tested.items()
        if (found := str(_installed(name))).partition("+")[0] != pin
    ]
    if other:
        return Finding(WARNING, "; ".join(other), f"If something behaves oddly, {_INSTALL}")
    said = "of the tested versions" if tested else "of fitting versions"
    return Finding(OK, f"{counted(len(wanted), 'package')} {said}")


def _declared() -> tuple[str, list[str]]:
    """Return the Python versions and the packages that this project asks for, from its source tree or its installation."""
    file = PROJECT / "pyproject.toml"
    if file.is_file():
        project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
        if project.get("name") == "ctbench":
            return project["requires-python"], project["dependencies"]
    try:
        facts = importlib.metadata.metadata("ctbench")
    except importlib.metadata.PackageNotFoundError:
        return "", []
    asked = importlib.metadata.requires("ctbench") or []
    return facts["Requires-Python"] or "", [line for line in asked if "extra ==" not in line]


def _pins() -> dict[str, str]:
    file = PROJECT / "requirements.txt"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    parts = [line.strip().partition("==") for line in lines]
    return {canonicalize_name(name): version for name, equals, version in parts if equals}


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def device(config: Config) -> Finding:
    """Name what torch can train on, and try each GPU with one product."""
    import torch

    from ctbench_core.train.trainer import choose_device

    chosen = choose_device(config.utils.device)
    version = f"torch {torch.__version__}"
    if not torch.cuda.is_available():
        if shutil.which("nvidia-smi"):
            advice = "Install a torch that is built for this machine's CUDA driver; heads train on the CPU until then."
            return Finding(WARNING, f"{version} finds no GPU, though an NVIDIA driver is installed", advice)
        return Finding(OK, f"{version}, CPU")
    names = []
    for place in range(torch.cuda.device_count()):
        try:
            ones = torch.ones(8, 8, device=f"cuda:{place}")
            float((ones @ ones).sum())
            free, total = torch.cuda.mem_get_info(place)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            return Finding(ERROR, f"cuda:{place} does not work: {reason}", "Set utils.device=cpu, or mend the driver.")
        names.append(f"{torch.cuda.get_device_name(place)} ({free / 2**30:.0f} of {total / 2**30:.0f} GiB free)")
    return Finding(OK, f"{version}, {', '.join(names)}; heads train on {chosen}")


def threads(config: Config) -> Finding:
    """Compare the threads of torch with the processors that this process may use."""
    import torch

    used, here = torch.get_num_threads(), _processors()
    if used > here:
        return Finding(
            WARNING,
            f"torch uses {used} threads on {here} processors that this process may use",
            f"Set OMP_NUM_THREADS={here}: more threads than processors slow each other down.",
        )
    return Finding(OK, f"torch uses {used} of {here} processors")


def _processors() -> int:
    """Return how many processors this process may use: a scheduler often gives fewer than the machine has."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def memory(config: Config) -> Finding:
    """Tell how much memory is free."""
    seen = psutil.virtual_memory()
    found = f"{seen.available / 2**30:.1f} of {seen.total / 2**30:.1f} GiB free"
    if seen.available < _SCARCE_MEMORY:
        advice = "Features are held in memory once: 50,000 vectors of 512 values take .1 GiB. Close what else is open."
        return Finding(WARNING, found, advice)
    return Finding(OK, found)
