"""Texts for the screen: names as they are written, never rendered as Markdown, and config keys as their fields."""

from __future__ import annotations

import re

from ctbench_core.config import KEYS, title_of

_SIGNS = re.compile(r"([\\`*\[\]<>{}$~#|!&]|:(?=[A-Za-z\u2060])|(?<!\w)_|_(?!\w))")
_LIST = re.compile(r"^(\d+(?=[.)]\s)|(?=[-+]\s))")
# Links, icons and emoji that are recognised after the escapes are gone: an invisible joiner keeps them apart.
_RECOGNISED = re.compile(r"(?<=:)(?=[A-Za-z/+])|(?<=www)(?=\.)|(?<=@)(?=\w)")
_JOINER = "\u2060"


def as_text(name: object) -> str:
    """Return a name as Markdown that shows exactly its characters: no emphasis, link, image, formula or icon."""
    line = " ".join(str(name).split())
    line = _LIST.sub(rf"\1{_JOINER}", _RECOGNISED.sub(_JOINER, line))
    return _SIGNS.sub(r"\\\1", line)


_SETTING = re.compile(r"\b([a-z]+(?:\.\w+)+)(?:=(\{[^}]*\}|\[[^\]]*\]|[^\s,;)]+?))?(?=[\s,;)]|\.(?:\s|$)|$)")


def name_fields(text: str) -> str:
    """Return a message of the core with the fields of a page in place of config keys, and titles in place of names."""
    return _SETTING.sub(_name_field, text)


def _name_field(match: re.Match[str]) -> str:
    info = KEYS.get(match[1])
    if info is None or not info.label or info.command_line_only:
        return match[0]
    return f"“{info.label}” = {title_of(info, match[2])}" if match[2] else f"“{info.label}”"
