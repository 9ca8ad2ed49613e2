"""What to know of a test set that is of another data set than a run's training data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict

import msgspec


@dataclass(frozen=True)
class ExternalTest:
    """How a test set of another data set was read.

    Attributes:
        label_map: the name of the label map; empty where the findings have the same names or the config renames them.
        digest: SHA-256 of its file.
        pairs: by finding that is judged, ``columns`` (several are joined by any) and ``note``, the choice that was made.
        not_judged: by finding of the run without a counterpart, why.
        unused: by label column of the test set without a counterpart, why.
        settings: by config key, what the evaluation had other than the run: its places, columns and label rules.
    """

    label_map: str = ""
    digest: str = ""
    pairs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    not_judged: Mapping[str, str] = field(default_factory=dict)
    unused: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``external`` in METRICS."""
        return {
            "label_map": {"name": self.label_map, "sha256": self.digest} if self.label_map else None,
            "pairs": {finding: dict(pair) for finding, pair in self.pairs.items()},
            "not_judged": dict(self.not_judged),
            "unused_columns": dict(self.unused),
            "settings": dict(self.settings),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> ExternalTest:
        """Return it from its JSON.

        Raises:
            ValueError: a field has another type.
        """
        msgspec.convert(content, _File)
        label_map = content.get("label_map") or {}
        parts = (content.get(name) or {} for name in ("pairs", "not_judged", "unused_columns", "settings"))
        return cls(label_map.get("name", ""), label_map.get("sha256", ""), *parts)


class _File(TypedDict, total=False):
    """Its fields in JSON."""

    label_map: dict[str, str] | None
    pairs: dict[str, dict[str, Any]] | None
    not_judged: dict[str, str] | None
    unused_columns: dict[str, str] | None
    settings: dict[str, Any] | None
