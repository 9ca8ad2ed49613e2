"""Define what every verb works with: its invocation, the progress line on stderr, and the outcome it returns."""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctbench_core.errors import ConfigError

if TYPE_CHECKING:
    from ctbench_core.cli.composed import Composed

REDRAW_S = 0.1
LOG_S = 10.0


@dataclass(frozen=True)
class Outcome:
    """The result of a verb: its JSON, a short table for people, and the exit code."""

    json: dict[str, Any]
    table: str
    code: int = 0


class ProgressLine:
    """Show phase, count and remaining time, as ``progress(phase, done, total)``.

    A terminal gets one line that is redrawn; a file gets a new line every ten seconds.
    """

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._phase, self._phase_started, self._first_done = "", 0.0, 0
        self._shown_at = 0.0
        self._width = 0

    def __call__(self, phase: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` steps are complete; a part of the phase in brackets may change."""
        moment = time.monotonic()
        name = phase.split(" (", maxsplit=1)[0]
        if name != self._phase:
            self._phase, self._phase_started, self._first_done = name, moment, done
            self._shown_at = 0.0 if self._terminal else moment
        if moment - self._shown_at < (REDRAW_S if self._terminal else LOG_S) and done < total:
            return
        self._shown_at = moment
        self._draw(f"{phase}  {done:,}/{total:,}{self._remaining(moment, done, total)}")

    def _remaining(self, moment: float, done: int, total: int) -> str:
        steps = done - self._first_done
        if steps <= 0 or done >= total:
            return ""
        seconds = (moment - self._phase_started) / steps * (total - done)
        return f"  at most {seconds // 60:.0f}:{seconds % 60:02.0f} left"

    def _draw(self, text: str) -> None:
        if self._terminal:
            sys.stderr.write("\r" + text.ljust(self._width))
            self._width = len(text)
        else:
            sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def note(self, text: str) -> None:
        """Print a message on its own line."""
        self.clear()
        print(text, file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Erase the progress line."""
        if self._terminal and self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            sys.stderr.flush()
            self._width = 0


@dataclass(frozen=True)
class Call:
    """One invocation of a verb: its flags, its arguments, a stop signal, and the progress line.

    Attributes:
        arguments: overrides (``key=value``) and positional arguments, as typed.
    """

    options: argparse.Namespace
    arguments: list[str]
    cancel: threading.Event
    progress: ProgressLine

    def split(self) -> tuple[list[str], list[str]]:
        """Return the positional arguments and the overrides."""
        positionals = [argument for argument in self.arguments if "=" not in argument]
        return positionals, [argument for argument in self.arguments if "=" in argument]

    def one_positional(self, verb: str, kind: str) -> tuple[str, list[str]]:
        """Return the only positional argument and the overrides.

        Raises:
            ConfigError: there is none, or several.
        """
        positionals, overrides = self.split()
        if len(positionals) != 1:
            raise ConfigError(f"{verb} takes one {kind}, got {len(positionals)}: {verb} <{kind}>.")
        return positionals[0], overrides

    def compose(self, job_name: str, extras: Sequence[str] = (), overrides: list[str] | None = None) -> Composed:
        """Compose the config from the overrides (by default all arguments), and print its warnings."""
        from ctbench_core.cli.composed import compose_plain

        path = Path(self.options.config_name)  # older commands write best.yaml, or configs/best.yaml
        folder, name = self.options.config_dir, path.name.removesuffix(".yaml")
        if folder is None and path.parent.name:
            folder = path.parent
        if folder is None and Path("configs", f"{name}.yaml").is_file():
            folder = Path("configs")
            self.progress.note(f"Using the config tree {folder.resolve()}.")
        overrides = self.arguments if overrides is None else overrides
        if folder is None and name == "config" and (plain := compose_plain(overrides, job_name, extras)) is not None:
            return plain
        from ctbench_core.cli.compose import compose_config

        composed = compose_config(overrides, job_name=job_name, extras=extras, config_dir=folder, config_name=name)
        for warning in composed.warnings:
            self.progress.note(f"Warning: {warning}")
        return composed


@dataclass(frozen=True)
class Verb:
    """A verb: one line of help, its arguments in the usage line, its function, and its own flags."""

    help: str
    usage: str
    function: Callable[[Call], Outcome]
    flags: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # --flag: arguments of argparse
