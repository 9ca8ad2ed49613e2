"""Export a run as one zip: config, command, scores, tables, curves, provenance, cards, files for a paper, and disclosures."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ctbench_core.atomic import atomic_file, dump_json
from ctbench_core.errors import CheckpointError
from ctbench_core.installation import version
from ctbench_core.overrides import commands
from ctbench_core.report import data_card, model_card, run_paper
from ctbench_core.runs import (
    BulkResult,
    Run,
    disclosures_of,
    for_each,
    leads_out,
    open_run,
    openings_of,
    read_result_csv,
)
from ctbench_core.stored import is_there
from ctbench_core.tables import sheet_bytes

# What a resume needs is large and of no use to a reader.
_EXCLUDED = ("last_state.pt", ".lock")


def export_run(run_dir: Path | str, target: Path | None = None) -> dict[str, Any]:
    """Write a run as one zip beside its folder, or to ``target``, and return the `export` JSON.

    Tables of an evaluation get the current disclosures of its test set (evaluations, leak, label origin, warning) as
    their last columns; ``marks.json`` holds the same for the other files. ``paper/<test>`` holds table and Methods. A
    trained head is also there as ``model.safetensors``, with ``MODEL_CARD.md`` and ``DATA_CARD.md``.

    Raises:
        InputError: the folder is not a run directory.
    """
    run = open_run(Path(run_dir).resolve())  # "." has no name
    root = run.paths.root
    target = target or root.with_name(f"{root.name}.zip")
    warnings: list[str] = []
    with atomic_file(target) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        files = _add(archive, run, warnings)
    return {"path": str(target), "files": files, "warnings": warnings}


def export_runs(run_dirs: Iterable[Path | str], target: Path) -> BulkResult:
    """Write several runs as one zip, a folder each; ``not_exported.txt`` in it names what cannot be read."""
    warnings: list[str] = []
    with atomic_file(target) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        result = for_each(run_dirs, lambda folder: _add(archive, open_run(folder.resolve()), warnings))
        lines = [*(f"{run_id}: {reason}" for run_id, reason in result.refused.items()), *warnings]
        if lines:
            archive.writestr("not_exported.txt", "".join(f"{line}\n" for line in lines))
    return result


def _add(archive: zipfile.ZipFile, run: Run, warnings: list[str]) -> list[str]:
    """Add a run's files to a zip, in a folder of its id; return their names in it, and append what is missing."""
    root = run.paths.root
    texts: dict[str, str | bytes] = {**_texts(run)}  # which may refuse: before any file is in the zip
    try:
        texts |= _head_files(run)
    except CheckpointError as error:  # results can be exported all the same
        warnings.append(f"{run.run_id}: no safetensors head and no cards: {error}")
    content = {path.relative_to(root).as_posix(): path for path in sorted(root.rglob("*")) if _is_included(path)}
    for name, path in content.items():
        if name not in texts:
            archive.write(path, f"{root.name}/{name}")
    for name, text in texts.items():
        archive.writestr(f"{root.name}/{name}", text)
    return list(dict.fromkeys([*content, *texts]))


def _is_included(path: Path) -> bool:
    """Whether a file goes into the zip; what links show may lie outside CTBENCH_ROOTS."""
    is_result = path.is_file() and path.name not in _EXCLUDED and not path.name.endswith(".tmp")
    return is_result and not leads_out(path)


def _head_files(run: Run) -> dict[str, str | bytes]:
    """Return the head of a run as safetensors, and the cards of head and data; nothing where no head is stored."""
    findings = list(run.best().get("val_metrics", {}).get("per_class", {}))
    if not findings or not is_there(run.paths.final_model):
        return {}
    from safetensors.torch import save

    from ctbench_core.train.checkpoint import load_model_state

    state = {name: tensor.contiguous() for name, tensor in load_model_state(run.paths.final_model).items()}
    metadata = {"format": "pt", "findings": json.dumps(findings), "ctbench": version()}
    return {
        "model.safetensors": save(state, metadata),
        "MODEL_CARD.md": model_card(run, findings, {name: list(tensor.shape) for name, tensor in state.items()}),
        "DATA_CARD.md": data_card(run, findings),
    }


def _texts(run: Run) -> dict[str, str]:
    """Return the text files that are not in the run directory, or differ from it, by their path in the zip."""
    openings = [opening for test in run.evaluations() for opening in openings_of([run], test)]
    files = {
        "command.txt": "".join(f"{command}\n" for command in commands(run.config).values()),
        "openings.json": dump_json([dataclasses.asdict(one) for one in dict.fromkeys(openings)], indent=1) + "\n",
    }
    for test in run.evaluations():
        disclosures, bundle = disclosures_of([run], test), run.paths.evaluation(test)
        for path in sorted(bundle.root.glob("*.csv")):
            table = disclosures.add_to(read_result_csv(path))
            files[f"evaluation/{test}/{path.name}"] = sheet_bytes(table).decode("utf-8")
        content = {"n": disclosures.n, **disclosures.to_json()}
        files[f"evaluation/{test}/marks.json"] = dump_json(content, indent=1) + "\n"
        for name, text in run_paper(run, test).items():
            files[f"paper/{test}/{name}"] = text
    return files
