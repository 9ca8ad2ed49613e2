"""Keep where a study runs in its folder (``cluster.yaml``), so that its folder alone continues it there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ctbench_core.atomic import remove, write_text
from ctbench_core.config import dump_yaml
from ctbench_core.errors import ConfigError
from ctbench_core.executors.options import ClusterOptions, check_options

NAME = "cluster.yaml"


def write_options(folder: Path, options: ClusterOptions) -> None:
    """Write the options of a study, or remove those of a study that runs in one process."""
    if options.is_here:
        remove(folder / NAME)
        return
    content: dict[str, Any] = {"workers": options.workers}
    content |= {"cluster": options.cluster} if options.cluster else {}
    content |= {"with": options.requests} if options.requests else {}
    write_text(folder / NAME, dump_yaml(content))


def read_options(folder: Path) -> ClusterOptions:
    """Read the options of a study; without any, it runs in this process.

    Raises:
        ConfigError: the file cannot be used.
    """
    path = folder / NAME
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ClusterOptions()
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise _unusable(path, " ".join(str(error).split())) from error
    if not isinstance(content, dict) or set(content) - {"workers", "cluster", "with"}:
        raise _unusable(path, "it holds other parts")
    requests = content.get("with") or {}
    if not isinstance(content.get("workers", 0), int) or not isinstance(requests, dict):
        raise _unusable(path, "workers is no number, or with no mapping")
    texts = {str(name): str(value) for name, value in requests.items()}
    return check_options(ClusterOptions(content.get("workers", 0), str(content.get("cluster") or ""), texts))


def _unusable(path: Path, reason: str) -> ConfigError:
    return ConfigError(
        f"{path} cannot be used: {reason}. Expected workers, cluster and with, as --workers, --cluster and --with take "
        "them. Delete it, or give these flags again."
    )
