"""Features that differ by finding (``data.per_finding``): their sources, and the columns of the matrix that each reads.

A source is a feature root, or an array of the feature files. The vectors of all sources stand side by side in a row of
the matrix; the probe of a finding reads those of its own source.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ctbench_core.config import Config, is_url
from ctbench_core.errors import ConfigError


def is_root(source: str) -> bool:
    """Whether a source is a feature root; else it is an array of the feature files."""
    return is_url(source) or Path(source).expanduser().is_dir()


def finding_sources(config: Config) -> dict[str, Config]:
    """Return the distinct sources of features by name, each as a config that reads it alone; one where all findings share."""
    sources = {}
    for source in dict.fromkeys(config.data.per_finding.values()):
        own = config.copy()
        own.data.per_finding = {}
        if is_root(source):
            own.paths.data_root = source
        else:
            own.data.feature_key = source
        sources[f"visual {source}"] = own
    return sources or {"visual": config}


def finding_columns(config: Config, labels: Sequence[str], widths: Sequence[int]) -> list[slice]:
    """Return the columns of the matrix that each finding reads.

    Args:
        widths: of the sources, in the order of `finding_sources`.

    Raises:
        ConfigError: a finding has no source.
    """
    check_sources(config, labels)
    names = list(dict.fromkeys(config.data.per_finding.values()))
    ends = np.cumsum(widths).tolist()
    places = [names.index(config.data.per_finding[label]) for label in labels]
    return [slice(ends[place] - widths[place], ends[place]) for place in places]


def check_sources(config: Config, labels: Sequence[str]) -> None:
    """Refuse findings without a source.

    Raises:
        ConfigError: there are any.
    """
    absent = [label for label in labels if label not in config.data.per_finding]
    if absent:
        raise ConfigError(
            f"data.per_finding has no features for {', '.join(absent)}. Name a feature root or an array of the feature files "
            "for every finding, or leave findings out with training.target_labels."
        )
