"""A search: a base config, a space, and how many trials; validation alone judges, no test is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ctbench_core.config import Config, set_key
from ctbench_core.errors import ConfigError, unknown_name
from ctbench_core.studies.layout import StudyPaths, study_paths
from ctbench_core.studies.space import DEFAULT_SPACE, Space, space_from
from ctbench_core.studies.study import Study, _flat, expanded, slug

TRIALS, BATCH = 30, 3
_PARTS = ("name", "base", "space", "trials", "batch")


@dataclass(frozen=True)
class Search:
    """A named search.

    Attributes:
        base: config keys that every trial shares.
        space: as given; see `space`.
        batch: trials drawn together, before any of them has ended; those of one head shape train as one bank.
    """

    name: str = "search"
    base: dict[str, Any] = field(default_factory=dict)
    space: dict[str, Any] = field(default_factory=lambda: dict(DEFAULT_SPACE))
    trials: int = TRIALS
    batch: int = BATCH

    def config(self, drawn: Mapping[str, Any] | None = None) -> Config:
        """Return the config of drawn parameters; without any, the base alone."""
        config = Config()
        layers = [expanded(self.base), self.parsed_space().changes(drawn) if drawn else {}]
        for changes in layers:
            for key, value in changes.items():
                set_key(config, key, value)
        config.evaluation.after_training = False
        config.job_name = slug(self.name)
        return config

    def parsed_space(self) -> Space:
        """Return the space, checked."""
        return space_from(self.space)

    def paths(self) -> StudyPaths:
        """Return the search's folder."""
        return study_paths(self.config())

    def to_dict(self) -> dict[str, Any]:
        """Return the form that `search_from` reads."""
        return {name: getattr(self, name) for name in _PARTS}

    def again(self, drawn: Mapping[str, Any], seeds: int = 5) -> Study:
        """Return the study that trains drawn parameters on fresh seeds, its tests opened: winners flatter themselves."""
        base = {**expanded(self.base), **self.parsed_space().changes(drawn)}
        first = int(base.pop("utils.seed", Config().utils.seed)) + 1
        base.pop("evaluation.after_training", None)
        return Study(f"{self.name} best again", base, {"utils.seed": list(range(first, first + seeds))})

    def stability(self, ranked: list[Mapping[str, Any]], seeds: int = 3) -> Study:
        """Return the study that trains the best parameters on fresh seeds, tests closed: does their order hold?"""
        base = {**expanded(self.base), "evaluation.after_training": False}
        first = int(base.pop("utils.seed", Config().utils.seed)) + 1
        ranks = {str(rank): self.parsed_space().changes(drawn) for rank, drawn in enumerate(ranked, start=1)}
        grid = {"training.learning_rate": ranks, "utils.seed": list(range(first, first + seeds))}
        return Study(f"{self.name} top {len(ranked)} again", base, grid)


def search_from(content: Mapping[str, Any]) -> Search:
    """Build a search from its YAML content.

    Raises:
        ConfigError: a part is unknown or of the wrong kind.
    """
    for part in content:
        if part not in _PARTS:
            raise unknown_name("part of a search", str(part), _PARTS)
    base, space = content.get("base") or {}, content.get("space") or dict(DEFAULT_SPACE)
    if not isinstance(base, Mapping) or not isinstance(space, Mapping):
        raise ConfigError("base and space of a search are mappings of config keys.")
    name = str(content.get("name") or "search")
    search = Search(
        name,
        {str(key): value for key, value in _flat(base)},
        {str(key): value for key, value in space.items()},
        _count("trials", content.get("trials", TRIALS)),
        _count("batch", content.get("batch", BATCH)),
    )
    search.parsed_space()
    search.config()
    return search


def _count(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{name} is {value!r}; expected a number from 1.")
    return value


def read_search(path: Path | str) -> Search:
    """Read a search from a YAML file.

    Raises:
        ConfigError: the file is missing or holds no search.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"Search {path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, Mapping):
        raise ConfigError(f"Search {path} holds no mapping. It needs base, space and trials.")
    return search_from({"name": path.stem, **content})
