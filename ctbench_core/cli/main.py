"""Parse the command line, run one verb, and turn its outcome into an exit code.

Exit codes: 0 done, 1 failed, 2 invalid input, 130 interrupted with the state saved.
"""

from __future__ import annotations

import argparse
import errno
import gc
import io
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from ctbench_core.atomic import dump_json
from ctbench_core.cli.invocation import Call, Outcome, ProgressLine
from ctbench_core.cli.verbs import VERBS
from ctbench_core.config import KEYS, is_url
from ctbench_core.errors import CtbenchError, InputError, Interrupted, explained
from ctbench_core.file_limit import raise_file_limit
from ctbench_core.installation import program, version

NEXT_STEPS = """Try it on a small synthetic data set, open the app, check your own data:
  {program} demo
  {program} app
  {program} check paths.data_root=FEATURE_FOLDER paths.manifest_dir=MANIFEST_FOLDER

{program} --help lists all verbs."""


# Python looks for unreachable objects whenever there are 700 more, and at its end. What torch and pandas have loaded
# stays until then: looking through it took .4 s of a short training and .2 to .6 s at the end.
_NEW_OBJECTS = 10_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; without arguments, those of this process, which then ends."""
    if arguments is not None:
        return _run(list(arguments))
    gc.set_threshold(_NEW_OBJECTS)
    try:
        return _run(sys.argv[1:])
    finally:
        gc.freeze()


def _run(arguments: list[str]) -> int:
    _escape_unprintable()
    if not arguments:
        print(NEXT_STEPS.format(program=program()))
        return 0
    if arguments[0] in ("-h", "--help", "--version"):
        print(f"ctbench {version()}" if arguments[0] == "--version" else _overview())
        return 0
    name, *rest = arguments
    if name not in VERBS:
        print(f"Unknown verb {name!r}. Known: {', '.join(VERBS)}.", file=sys.stderr)
        return 2
    options = _parser(name).parse_intermixed_args(rest)
    progress = ProgressLine()
    cancel = threading.Event()
    raise_file_limit()
    _stop_on_signals(cancel)
    try:
        _check_places([*options.arguments, *([str(options.config_dir)] if options.config_dir else [])])
        outcome = VERBS[name].function(Call(options, options.arguments, cancel, progress))
        return _report(outcome, options.json, progress)
    except (CtbenchError, KeyboardInterrupt, MemoryError, OSError, RuntimeError) as error:
        cause = explained(error)
        if not isinstance(cause, (CtbenchError, KeyboardInterrupt)):
            raise  # a bug
        return _report_error(cause, options.json, progress)


def _check_places(arguments: Sequence[str]) -> None:
    """Refuse every path in the arguments of a verb that leads out of CTBENCH_ROOTS, whatever the verb would do with it.

    Raises:
        PathError: there is one.
    """
    from ctbench_core.runs import allowed_roots, check_allowed

    if not allowed_roots():
        return
    for argument in arguments:
        place = argument.partition("=")[2].strip("'\"") if "=" in argument else argument
        path = Path(place)
        if not is_url(place) and (path.is_absolute() or ".." in path.parts or path.exists()):
            check_allowed(path)


def _escape_unprintable() -> None:
    """Escape characters that the terminal's encoding lacks, such as the true minus sign, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _report(outcome: Outcome, as_json: bool, progress: ProgressLine) -> int:
    progress.clear()
    try:
        print(outcome.table)
        if as_json:
            print(dump_json(outcome.json, ascii_only=True))
        sys.stdout.flush()
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EINVAL):  # the second is Windows' word for a closed pipe
            raise
        # The reader has closed the pipe (`| head`); without this, Python would fail again while closing stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return outcome.code


def _report_error(error: BaseException, as_json: bool, progress: ProgressLine) -> int:
    code = 2 if isinstance(error, InputError) else 130 if isinstance(error, (Interrupted, KeyboardInterrupt)) else 1
    text = str(error) or "Interrupted."
    progress.note(f"{'Interrupted' if code == 130 else 'Error'}: {text}")
    if as_json:
        print(dump_json({"error": text, "exit": code}, ascii_only=True), flush=True)
    return code


def _stop_on_signals(cancel: threading.Event) -> None:
    """Let the first signal finish the epoch and save the state; a second one stops at once."""
    if threading.current_thread() is not threading.main_thread():
        return

    def handle(number: int, frame: object) -> None:
        if cancel.is_set():
            raise KeyboardInterrupt
        cancel.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)


def _parser(name: str) -> argparse.ArgumentParser:
    verb = VERBS[name]
    parser = argparse.ArgumentParser(
        prog=f"{program()} {name}",
        usage=f"{program()} {name} {verb.usage} [--json] [--config-dir DIR] [--config-name NAME]",
        description=verb.help,
        epilog=_keys_help(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--config-dir", "-cd", "--config-path", "-cp", type=Path, help="folder of a YAML config tree")
    parser.add_argument("--config-name", "-cn", default="config", help="primary file of the tree (default: config)")
    for flag, options in verb.flags.items():
        parser.add_argument(*flag.split(), **options)
    return parser


def _keys_help() -> str:
    width = max(map(len, KEYS))
    lines = ["keys, with their defaults in brackets:"]
    for name, info in KEYS.items():
        known = f" One of {', '.join(info.known_values)}." if info.known_values else ""
        lines.append(f"  {name.ljust(width)}  {info.tooltip}{known} [{info.default}]")
    return "\n".join(lines)


def _overview() -> str:
    width = max(map(len, VERBS))
    lines = [f"  {name.ljust(width)}  {verb.help}" for name, verb in VERBS.items()]
    usage = f"usage: {program()} VERB [key=value ...] [--json]"
    return "\n".join([usage, "", *lines, "", f"{program()} VERB --help lists every key."])
