"""Named data sets: the features, manifests and columns of a user, as small YAML files in the run store."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import yaml

from ctbench_core.atomic import write_text
from ctbench_core.config import KEYS, Config, changed_keys, dump_yaml, from_mapping
from ctbench_core.errors import DamagedFile, InputError
from ctbench_core.names import safe_name
from ctbench_core.stored import read_file

FOLDER = ".datasets"
FORMAT = 1  # files without it are of the same form
_NAME = re.compile(r"[\w][\w .-]{0,63}")


def names(outputs_root: Path) -> list[str]:
    """List the saved data sets, the last saved or opened first."""
    files = sorted((outputs_root / FOLDER).glob("*.yaml"), key=lambda file: file.stat().st_mtime_ns, reverse=True)
    return [file.stem for file in files]


def path_of(outputs_root: Path, name: str) -> Path:
    """Return the file of a named data set."""
    return outputs_root / FOLDER / f"{name}.yaml"


def name_of(outputs_root: Path, config: Config) -> str | None:
    """Return the saved data set with the data keys of a config, the last used first; None without one."""
    own_keys = _data_keys(config)
    for name in names(outputs_root):
        with contextlib.suppress(InputError):
            if _data_keys(load(outputs_root, name)) == own_keys:
                return name
    return None


def _data_keys(config: Config) -> dict[str, Any]:
    return {key: value for key, value in changed_keys(config).items() if KEYS[key].is_input}


def save(outputs_root: Path, name: str, config: Config) -> Path:
    """Write the data keys of a config as a named data set.

    Raises:
        InputError: the name is not a file name, or not on every system.
    """
    if not _NAME.fullmatch(name) or name.endswith("."):
        raise InputError(
            f"{name!r} cannot name a data set: use letters, digits, spaces, dots, dashes and underscores, at most 64."
        )
    path = path_of(outputs_root, name)
    safe_name(path.name, "The file of the data set", path.parent)
    content = {"format": FORMAT, **_data_keys(config)}
    write_text(path, dump_yaml(content))
    return path


def load(outputs_root: Path, name: str) -> Config:
    """Read a named data set as a config whose other keys are defaults.

    Raises:
        InputError: there is no such data set, or its file is damaged.
    """
    path = path_of(outputs_root, name)
    try:
        content: Any = read_file(path, yaml.safe_load, "Save it again on the Data page.") or {}
    except (DamagedFile, FileNotFoundError) as error:
        raise InputError(f"Data set {name!r} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} should hold keys and values; it holds {type(content).__name__}. Save it again.")
    return from_mapping({key: value for key, value in content.items() if key != "format"})[0]
