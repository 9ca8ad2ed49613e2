"""What a verb of the command line gets, and what it hands back."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ctbench_core.cli.compose import Composed, compose_config
from ctbench_core.cli.progress import ProgressLine


@dataclass(frozen=True)
class Outcome:
    """What a verb hands back: its JSON, the table for people, and the exit code."""

    json: dict[str, Any]
    table: str
    code: int = 0


@dataclass(frozen=True)
class Call:
    """One invocation: the parsed options, the words, a stop signal, and where progress goes."""

    options: argparse.Namespace
    words: list[str]
    cancel: threading.Event
    progress: ProgressLine

    def compose(self, job_name: str, extras: tuple[str, ...] = (), words: list[str] | None = None) -> Composed:
        """Compose the config of this call, or of some of its words, and print its warnings."""
        named = Path(self.options.config_name)  # older commands write best.yaml, or configs/best.yaml
        folder, name = self.options.config_dir, named.name.removesuffix(".yaml")
        if folder is None and named.parent.name:
            folder = named.parent
        if folder is None and Path("configs", f"{name}.yaml").is_file():
            folder = Path("configs")
            self.progress.note(f"Using the config tree {folder.resolve()}.")
        given = self.words if words is None else words
        composed = compose_config(given, job_name=job_name, extras=extras, config_dir=folder, config_name=name)
        for warning in composed.warnings:
            self.progress.note(f"Warning: {warning}")
        return composed


@dataclass(frozen=True)
class Verb:
    """A verb: one line of help, the words it takes, its function, and its own flags."""

    help: str
    words: str
    function: Callable[[Call], Outcome]
    flags: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # --flag: what argparse is told of it
