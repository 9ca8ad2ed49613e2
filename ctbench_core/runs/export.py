"""One zip of a run: config, command, scores, tables, curves, provenance, and the ledger's count."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from ctbench_core.atomic import atomic_file, dump_json
from ctbench_core.runs.store import RunStore, open_run
from ctbench_core.words import to_command

# What a resume needs is large and says nothing to a reader.
_LEFT_OUT = ("last_state.pt", ".lock")


def export_run(run_dir: Path | str, target: Path | None = None) -> dict[str, Any]:
    """Write a run as one zip beside its folder, or to ``target``, and return the `export` JSON.

    Raises:
        InputError: the folder is no run directory.
    """
    run = open_run(run_dir)
    root = run.paths.root
    target = target or root.with_name(f"{root.name}.zip")
    extra = {
        "command.txt": to_command(run.config) + "\n",
        "openings.json": dump_json(RunStore(run.store).openings(run.job), indent=1) + "\n",
    }
    files = [
        path
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name not in _LEFT_OUT and not path.name.endswith(".tmp")
    ]
    with atomic_file(target) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            archive.write(path, f"{root.name}/{path.relative_to(root).as_posix()}")
        for name, text in extra.items():
            archive.writestr(f"{root.name}/{name}", text)
    names = [path.relative_to(root).as_posix() for path in files] + list(extra)
    return {"path": str(target), "files": names}
