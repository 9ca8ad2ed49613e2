"""Make the reference pages from the code: every key, every verb, and the Python API."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Iterator
from typing import Any

import ctbench_core
from ctbench_core import api
from ctbench_core.cli.verbs import VERBS
from ctbench_core.config import KEYS, KeyInfo
from ctbench_core.declared import SCOPES

_LINE = 90  # characters of a signature in one line
PROGRAM = "python -m ctbench_core"
_SECTION = re.compile(r"^(Args|Attributes|Raises|Returns):$")


def keys_page() -> str:
    """Return the page of every key: type, default, meaning, and what a change of it changes."""
    parts = [
        "# Keys",
        f"The {len(KEYS)} keys of the config. On the command line write `key=value`, in Python "
        '`{"key": value}`, in a YAML tree nest the sections. The app shows the same keys beside its fields.',
        "**Changes** says what another value changes: "
        + "; ".join(f"*{scope}*: {text}" for scope, text in SCOPES.items())
        + ".",
    ]
    sections: dict[str, list[KeyInfo]] = {}
    for info in KEYS.values():
        sections.setdefault(info.name.rpartition(".")[0] or "top level", []).append(info)
    for title, infos in sections.items():
        parts += [
            f"## {title}",
            "\n".join(["| key | default | meaning | changes |", "|---|---|---|---|", *map(_row, infos)]),
        ]
    return "\n\n".join(parts) + "\n"


def _row(info: KeyInfo) -> str:
    known = f" One of {', '.join(f'`{value}`' for value in info.known_values)}." if info.known_values else ""
    default = "empty" if info.default in (None, "") else f"`{_cell(str(info.default))}`"
    return f"| `{info.name}` | {default} | {_cell(info.tooltip)}{known} | {info.scope} |"


def _cell(text: str) -> str:
    return re.sub(r"<(\w[\w ]*)>", r"&lt;\1&gt;", text.replace("|", "\\|").replace("\n", " ")) if text != "|" else "\\|"


def verbs_page() -> str:
    """Return the page of every verb: its usage and flags."""
    parts = [
        "# Verbs",
        f"`{PROGRAM} VERB [key=value ...]`; where ctbench is installed as a package, `ctbench VERB` is the same. Every "
        "verb takes the [keys](keys.md), `--json` (one JSON object as the last line), `--config-dir` and `--config-name` "
        "(a YAML tree). [The command line](../command-line.md) has examples, exit codes and quoting.",
    ]
    for name, verb in VERBS.items():
        parts += [f"## {name}", verb.help, f"```text\n{PROGRAM} {name} {verb.usage}".rstrip() + "\n```"]
        flags = [f"- `{flag}`: {_flag_help(options)}" for flag, options in verb.flags.items()]
        parts += ["\n".join(flags)] if flags else []
    return "\n\n".join(parts) + "\n"


def _flag_help(options: dict[str, Any]) -> str:
    text = options.get("help", "")
    return "" if text == argparse.SUPPRESS else str(text)


def python_page() -> str:
    """Return the page of the Python API, and of the names that `ctbench_core` exports."""
    functions = [name for name in api.__all__ if inspect.isfunction(getattr(api, name))]
    reports = [name for name in api.__all__ if name.endswith("Report")]
    parts = [
        "# Python",
        "For notebooks and scripts: `import ctbench_core.api as ct`. Each function returns a report with tables (pandas), "
        "figures (Plotly) and a summary that a notebook shows. [The notebook](../notebook.md) uses all of them.",
        "## Functions",
        *(part for name in functions for part in _function(f"ct.{name}", getattr(api, name), "###")),
        "## Reports",
        *(part for name in reports for part in _class(name, getattr(api, name))),
        "## Building blocks",
        "`import ctbench_core` exports what the app and the command line are made of. Functions return the JSON of the "
        "command line; a name is loaded on first use.",
        "\n".join(["| name | |", "|---|---|", *map(_block, sorted(ctbench_core.__all__))]),
    ]
    return "\n\n".join(parts) + "\n"


def _block(name: str) -> str:
    value = getattr(ctbench_core, name)
    text = "The version of ctbench." if isinstance(value, str) else _first(value)
    return f"| `{name}` | {_cell(text)} |"


def _first(value: Any) -> str:
    """Return the first paragraph of a docstring in one line."""
    return " ".join((inspect.getdoc(value) or "").split("\n\n")[0].split())


def _function(title: str, function: Any, level: str) -> Iterator[str]:
    yield f"{level} {title.rpartition('.')[2]}"
    yield f"```python\n{_signature(title, function)}\n```"
    yield _markdown(inspect.getdoc(function) or "")


def _signature(name: str, function: Any) -> str:
    """Return a call with types and defaults, one parameter a line where one line is too short."""
    signature = inspect.signature(function)
    own = [p for p in signature.parameters.values() if p.name != "self"]
    text = name + _plain(signature.replace(parameters=own))
    if len(text) <= _LINE:
        return text
    parts = [_plain(p) for p in own]
    keyword_only = next((k for k, p in enumerate(own) if p.kind == p.KEYWORD_ONLY), None)
    if keyword_only is not None:
        parts.insert(keyword_only, "*")
    end = "" if signature.return_annotation is signature.empty else f" -> {_plain(signature.return_annotation)}"
    return f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){end}"


def _plain(part: object) -> str:
    """Return a part of a signature without quotes around types, and functions by their names."""
    return re.sub(r"<function (\w+) at \w+>", r"\1", str(part)).replace("'", "")


def _class(name: str, kind: Any) -> Iterator[str]:
    yield f"### {name}"
    yield _markdown(inspect.getdoc(kind) or "")
    for member, value in vars(kind).items():
        if member.startswith("_"):
            continue
        if isinstance(value, property):
            yield f"**`{member}`**: {_first(value)}"
        elif inspect.isfunction(value):
            yield f"**`{' '.join(_signature(member, value).split())}`**: {_first(value)}"


def _markdown(docstring: str) -> str:
    """Return a docstring as Markdown: its sections as lists."""
    lines: list[str] = []
    in_section = False
    for line in docstring.splitlines():
        title = _SECTION.match(line)
        if title:
            in_section = True
            lines += [f"**{title[1]}**", ""]
        elif in_section and re.match(r"^    \S", line):
            name, colon, text = line.strip().partition(": ")
            lines.append(f"- `{name}`: {text}" if colon else f"- {line.strip()}")
        else:
            lines.append(line)
    return "\n".join(lines)
