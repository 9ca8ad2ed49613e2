"""What a verb of the command line gets, and what it hands back.

MERGED: Progress on stderr: one line that is drawn over, or a line now and then where stderr is a file.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ctbench_core.cli.compose import Composed, compose_config


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


REDRAW_S = 0.1
LOG_S = 10.0


class ProgressLine:
    """Shows phase, count and ETA; callable as ``progress(phase, done, total)``."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._phase, self._phase_started, self._first_done = "", 0.0, 0
        self._shown_at = 0.0
        self._width = 0

    def __call__(self, phase: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` steps of a phase are over; a bracketed part of the phase may change."""
        moment = time.monotonic()
        kind = phase.split(" (", maxsplit=1)[0]
        if kind != self._phase:
            self._phase, self._phase_started, self._first_done = kind, moment, done
            self._shown_at = 0.0 if self._terminal else moment
        if moment - self._shown_at < (REDRAW_S if self._terminal else LOG_S) and done < total:
            return
        self._shown_at = moment
        self._draw(f"{phase}  {done:,}/{total:,}{self._eta(moment, done, total)}")

    def _eta(self, moment: float, done: int, total: int) -> str:
        steps = done - self._first_done
        if steps <= 0 or done >= total:
            return ""
        left = (moment - self._phase_started) / steps * (total - done)
        return f"  at most {left // 60:.0f}:{left % 60:02.0f} left"

    def _draw(self, text: str) -> None:
        if self._terminal:
            sys.stderr.write("\r" + text.ljust(self._width))
            self._width = len(text)
        else:
            sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def note(self, text: str) -> None:
        """Print a message on a line of its own."""
        self.clear()
        print(text, file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Take the drawn line away."""
        if self._terminal and self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            sys.stderr.flush()
            self._width = 0
