"""What one look at the machine, the folders, the data or the runs gave."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

OK, WARNING, ERROR = "ok", "warning", "error"
LEVELS = (ERROR, WARNING, OK)
_UNITS = ((30, 1, "GiB"), (20, 1, "MiB"), (10, 0, "KiB"))


@dataclass(frozen=True)
class Finding:
    """One check: its level (ok, warning, error), what was found, and what to do about it.

    ``of_input``: whether an error is of what was given, as a path or a key, rather than of the machine or the store.
    """

    level: str
    found: str
    advice: str = ""
    topic: str = ""
    name: str = ""
    of_input: bool = False


@dataclass(frozen=True)
class Diagnosis:
    """All findings, in the order of the checks, and how long looking took."""

    findings: list[Finding]
    seconds: float

    def of(self, level: str) -> list[Finding]:
        """Return the findings of a level."""
        return [finding for finding in self.findings if finding.level == level]

    @property
    def code(self) -> int:
        """The exit code: 0 without an error, 2 where what was given alone is at fault, else 1."""
        wrong = self.of(ERROR)
        return 0 if not wrong else 2 if all(finding.of_input for finding in wrong) else 1

    def to_json(self) -> dict[str, Any]:
        """Return the `doctor` JSON."""
        return {
            "ok": not self.of(ERROR),
            "errors": len(self.of(ERROR)),
            "warnings": len(self.of(WARNING)),
            "findings": [asdict(finding) for finding in self.findings],
            "seconds": {"total": self.seconds},
        }


def counted(number: int, noun: str) -> str:
    """Write a count with its noun: ``1 file``, ``3 files``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def sized(count: float) -> str:
    """Write bytes in their largest fitting unit: ``1.3 GiB``, ``34.0 MiB``."""
    return next(
        (f"{count / 2**power:,.{digits}f} {unit}" for power, digits, unit in _UNITS if count >= 2**power),
        f"{count:,.0f} bytes",
    )
