"""The outcome of one check of the doctor, and the diagnosis that collects them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

OK, WARNING, ERROR = "ok", "warning", "error"
LEVELS = (ERROR, WARNING, OK)


@dataclass(frozen=True)
class CheckOutcome:
    """The outcome of one check.

    Attributes:
        level: ok, warning or error.
        observation: what the check saw.
        advice: what to do about it; empty when nothing is needed.
        of_input: whether an error comes from the input (a path, a key), not from the machine or the run store.
    """

    level: str
    observation: str
    advice: str = ""
    topic: str = ""
    name: str = ""
    of_input: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return every field; the observation keeps its published key ``found``."""
        return {"found" if name == "observation" else name: value for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Diagnosis:
    """All outcomes in the order of the checks, and the seconds they took."""

    outcomes: list[CheckOutcome]
    seconds: float

    def of(self, level: str) -> list[CheckOutcome]:
        """Return the outcomes of a level."""
        return [outcome for outcome in self.outcomes if outcome.level == level]

    @property
    def code(self) -> int:
        """The exit code: 0 without errors, 2 when every error comes from the input, else 1."""
        errors = self.of(ERROR)
        return 0 if not errors else 2 if all(outcome.of_input for outcome in errors) else 1

    def to_json(self) -> dict[str, Any]:
        """Return the JSON of the verb ``doctor``."""
        return {
            "ok": not self.of(ERROR),
            "errors": len(self.of(ERROR)),
            "warnings": len(self.of(WARNING)),
            "findings": [outcome.to_json() for outcome in self.outcomes],
            "seconds": {"total": self.seconds},
        }
