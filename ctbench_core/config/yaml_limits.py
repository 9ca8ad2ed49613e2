"""Refuse YAML that is small as text and huge as content, or nested too deeply, before it is built."""

from __future__ import annotations

import math

import yaml

_MOST_VALUES, _MOST_LEVELS = 100_000, 100
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


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
