"""Write LICENCES.md: the packages that ctbench and its extras bring in this environment, with their licences.

Run it in an environment that holds all extras, after a change of the dependencies:
``python -m pip install ".[app,auth,h5,remote,cluster,wandb,mlflow,tensorboard]" && python deploy/licences.py``
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

TARGET = Path(__file__).resolve().parents[1] / "LICENCES.md"
HEAD = """# Licences of the packages that ctbench uses

ctbench itself is MIT ([LICENSE](LICENSE)); it ships uPlot (MIT, `ctbench_ui/shared/vendor/uplot/LICENSE`) and no other code of third parties. `pip` installs the packages below from their authors: the core and its extras, and what these need, on Linux with the CPU build of torch. Made by `deploy/licences.py`.

| package | licence | needed by |
|---|---|---|
"""
# What the classifiers call a licence, shortened.
_SHORT = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "MIT License": "MIT",
    "Python Software Foundation License": "PSF-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "ISC License (ISCL)": "ISC",
    "The Unlicense (Unlicense)": "Unlicense",
}
_CLASSIFIER = "License :: OSI Approved :: "


def needed(name: str = "ctbench", extra: str = "") -> Iterator[tuple[str, str]]:
    """Yield each package that a package requires, with the extra that brings it."""
    for line in importlib.metadata.requires(name) or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield canonicalize_name(requirement.name), extra


def licence(name: str) -> str:
    """Return the licence of an installed package, as its metadata names it."""
    metadata = importlib.metadata.metadata(name)
    if expression := metadata.get("License-Expression"):
        return str(expression)
    named = [
        text.removeprefix(_CLASSIFIER) for text in metadata.get_all("Classifier") or [] if text.startswith(_CLASSIFIER)
    ]
    if named:
        return ", ".join(_SHORT.get(text, text) for text in named)
    lines = [line.strip() for line in str(metadata.get("License") or "").splitlines() if line.strip()]
    return lines[0] if lines else "not stated"


def main() -> None:
    """Walk the requirements of the core, then of each extra, and write the table."""
    extras = importlib.metadata.metadata("ctbench").get_all("Provides-Extra") or []
    brought: dict[str, str] = {}
    for extra in ["", *(one for one in extras if one != "dev")]:
        queue = [name for name, _ in needed(extra=extra)]
        while queue:
            name = queue.pop()
            if name in brought or name == "ctbench":
                continue
            try:
                importlib.metadata.distribution(name)
            except importlib.metadata.PackageNotFoundError:
                continue  # of another system or Python
            brought[name] = extra or "core"
            queue += [other for other, _ in needed(name)]
    rows = [f"| {name} | {licence(name)} | {extra} |" for name, extra in sorted(brought.items())]
    TARGET.write_text(HEAD + "\n".join(rows) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
