"""Write YAML, and refuse what is small as text and huge as content, or nested too deeply, before it is built."""

from __future__ import annotations

import math
from typing import Any

import yaml

_MOST_VALUES, _MOST_LEVELS = 100_000, 100
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# libyaml writes a config in .7 ms where the Python code takes 3.9. That one also loses text around the line breaks of
# Unicode, so where it has to do it writes other letters than ASCII by their numbers.
_DUMPER = getattr(yaml, "CSafeDumper", None)


def dump_yaml(content: Any) -> str:
    """Return plain values as YAML, keys in their order; `yaml.safe_load` gives the same values."""
    if _DUMPER is None:
        return yaml.safe_dump(content, sort_keys=False)
    text: str = yaml.dump(content, Dumper=_DUMPER, sort_keys=False, allow_unicode=True)
    return text


def check_yaml(text: str) -> str:
    """Return the text if its aliases expand to at most 100,000 values, in at most 100 levels.

    Raises:
        ValueError: they do not, or an alias stands inside what it names.
        yaml.YAMLError: it is no YAML.
    """
    sizes: dict[str, float] = {}  # values below each anchor, aliases expanded
    open_: list[tuple[str | None, float]] = [(None, 0)]
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            open_.append((event.anchor, 1))
            if len(open_) > _MOST_LEVELS:
                raise ValueError(f"it is nested deeper than {_MOST_LEVELS} levels")
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, size = open_.pop()
        elif isinstance(event, yaml.ScalarEvent):
            anchor, size = event.anchor, 1
        elif isinstance(event, yaml.AliasEvent):
            anchor, size = None, sizes.get(event.anchor, math.inf)
        else:
            continue
        if anchor is not None:
            sizes[anchor] = size
        outer, known = open_[-1]
        open_[-1] = outer, known + size
        if known + size > _MOST_VALUES:
            raise ValueError(f"its aliases expand to more than {_MOST_VALUES:,} values")
    return text
