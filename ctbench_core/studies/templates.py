"""Save the fields of the study form as templates of the run store: one file each, so that a damaged one hides no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

from ctbench_core.atomic import remove, write_json
from ctbench_core.errors import DamagedFile, InputError
from ctbench_core.names import safe_name
from ctbench_core.runs import read_json
from ctbench_core.stored import Count

FOLDER, _SUFFIX = ".study-templates", ".json"


class Template(TypedDict, total=False):
    """The fields of a template: text as typed, names of heads, and rows of (name, folder) and of (key, values)."""

    budget: str
    seeds: Count
    folds: Count
    model: list[str]
    encoder: list[tuple[str, str]]
    source: list[tuple[str, str]]
    keys: list[tuple[str, list[Any]]]


def read_templates(outputs_root: Path) -> tuple[dict[str, Template], dict[str, str]]:
    """Return the templates of a store by name, and what is wrong with each one that cannot be read."""
    templates: dict[str, Template] = {}
    damaged: dict[str, str] = {}
    for path in sorted((outputs_root / FOLDER).glob(f"*{_SUFFIX}")):
        try:
            if (content := read_json(path, Template)) is not None:
                templates[path.stem] = content
        except DamagedFile as error:
            damaged[path.stem] = str(error)
    return templates, damaged


def save_template(outputs_root: Path, name: str, template: Template) -> Path:
    """Save a template; one of the same name is replaced.

    Raises:
        InputError: the name is blank or no file name.
    """
    path = _path(outputs_root, name)
    write_json(path, dict(template))
    return path


def delete_template(outputs_root: Path, name: str) -> None:
    """Delete a template, if it is there. Errors as `save_template`."""
    remove(_path(outputs_root, name))


def _path(outputs_root: Path, name: str) -> Path:
    name = name.strip()
    if not name or name.startswith(".") or any(sign in name for sign in "/\\"):
        raise InputError(f"{name!r} cannot name a template. Use letters, digits, spaces and dashes.")
    path = outputs_root / FOLDER / f"{name}{_SUFFIX}"
    safe_name(path.name, "The file of the template", path.parent)
    return path
