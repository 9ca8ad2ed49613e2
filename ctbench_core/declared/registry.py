"""One kind of table for everything that can be registered: looked up by name or alias, extended by `add`."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol, TypeVar

from ctbench_core.errors import unknown_name


class Named(Protocol):
    """What every registered object has."""

    @property
    def name(self) -> str:
        """Its name in configs, files and code."""


T = TypeVar("T", bound=Named)


class Registry(Mapping[str, T]):
    """Registered objects by name, in the order of their declaration.

    An object may have ``aliases``: other names in older configs. They are translated, never imported.
    """

    def __init__(self, kind: str, items: Iterable[T] = ()) -> None:
        self.kind = kind
        self._items: dict[str, T] = {}
        self._aliases: dict[str, str] = {}
        for item in items:
            self.add(item)

    def add(self, item: T) -> T:
        """Register an object under its name and aliases, and return it; names are used once."""
        names = (item.name, *getattr(item, "aliases", ()))
        for name in names:
            if name in self._items or name in self._aliases:
                raise ValueError(f"{self.kind} {name!r} is registered already")
        self._items[item.name] = item
        self._aliases |= dict.fromkeys(names[1:], item.name)
        return item

    def __getitem__(self, name: str) -> T:
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def canonical(self, name: str) -> str:
        """Return an alias's registered name, any other name unchanged."""
        return self._aliases.get(name, name)

    def resolve(self, name: str) -> T:
        """Return the object of a name or alias.

        Raises:
            ConfigError: there is none; the message has the known names, nearest first.
        """
        known = self.canonical(name)
        if known not in self._items:
            raise unknown_name(self.kind, name, [*self._items, *self._aliases])
        return self._items[known]


def load(reference: str) -> Any:
    """Import and return what a registered object refers to by ``module:name``; only declarations hold such references."""
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)
