"""Nest groups of keys, and add to a group the parameters of what is registered."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import field
from typing import Any


def section(kind: type) -> Any:
    """Declare a nested group of keys."""
    return field(default_factory=kind)


def with_parameters(kind: type, registry: Mapping[str, Any]) -> type:
    """Return a section of the config with the parameters of every registered loss or head as further keys."""
    parameters: dict[str, tuple[str, Any, Any]] = {}
    taken = {item.name for item in dataclasses.fields(kind)}
    for item in registry.values():
        for name, (annotation, declared) in item.parameters.items():
            known = parameters.setdefault(name, (name, annotation, declared))
            if name in taken or (known[1], known[2].metadata) != (annotation, declared.metadata):
                raise ValueError(
                    f"Parameter {name} of {item.name} is declared already, with another meaning; rename it."
                )
    return dataclasses.make_dataclass(
        kind.__name__, parameters.values(), bases=(kind,), namespace={"__module__": kind.__module__}
    )
