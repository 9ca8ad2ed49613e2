"""Load a data set: its splits, findings and features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ctbench_core.api.report import Report, Section, draw
from ctbench_core.api.settings import with_settings
from ctbench_core.checks import CheckResult, check, check_tables
from ctbench_core.config import Config
from ctbench_core.dataset import load_dataset
from ctbench_core.errors import InputError, unknown_name
from ctbench_core.formatting import format_cohort, format_metric, plural
from ctbench_core.manifest import Manifest

if TYPE_CHECKING:
    from ctbench_core.figures import Figure


@dataclass(frozen=True, repr=False)
class DataReport(Report):
    """A data set as a run would use it.

    Attributes:
        config: where it is and how it is read; `train` and `align` start from it.
        check: what is wrong with it, as the verb ``check`` reports.
    """

    config: Config
    check: CheckResult

    @property
    def splits(self) -> pd.DataFrame:
        """Volumes, exams and patients of each split."""
        rows = [{"split": name, **counts} for name, counts in self.check.counts.items()]
        return pd.DataFrame(rows, columns=["split", "volumes", "exams", "patients"])

    @property
    def findings(self) -> pd.DataFrame:
        """Prevalence of each finding, a column a split."""
        return pd.DataFrame(self.check.prevalence).rename_axis("finding").reset_index()

    def manifest(self, split: str) -> pd.DataFrame:
        """Return the rows of a split: ``train``, ``val``, or a test manifest such as ``test``."""
        return self._split(split).frame

    def features(self, split: str) -> np.ndarray:
        """Return the features of a split, float32 of shape (volumes, dimensions), in the order of `manifest`."""
        return load_dataset(self.config, {split: self._split(split)}).inputs(split)

    def figure(self) -> Figure:
        """Draw the prevalence of every finding in each split."""
        sizes = "; ".join(f"{name}: {format_cohort(counts)}" for name, counts in self.check.counts.items())
        return draw(lambda figures: figures.prevalence(self.check.prevalence), sizes)

    def _split(self, name: str) -> Manifest:
        if self.check.errors and not self.check.manifests:
            raise InputError(self.check.errors[0])
        known = {Path(file).stem: manifest for file, manifest in self.check.manifests.items()}
        if Path(name).stem not in known:
            raise unknown_name("split", name, known)
        return known[Path(name).stem]

    def _title(self) -> str:
        return f"{self.config.paths.manifest_dir}: {plural(len(self.check.labels), 'finding')}"

    def _sections(self) -> Iterator[Section]:
        errors = [f"Error: {text}" for text in self.check.errors]
        yield Section("\n".join([*errors, *self.check.notes]), self.splits)
        shown = self.findings
        yield Section(
            "Prevalence", shown.assign(**{name: shown[name].map(format_metric) for name in shown.columns[1:]})
        )

    def _warnings(self) -> Sequence[str]:
        return self.check.warnings


def load(
    data_root: Path | str,
    manifest_dir: Path | str,
    settings: Mapping[str, Any] | None = None,
    *,
    features: bool = False,
) -> DataReport:
    """Read the manifests of a data set, and say what is wrong with it. Nothing is written.

    Args:
        data_root: the folder that feature paths are relative to.
        manifest_dir: the folder of train.csv, valid.csv and test.csv; ``data.train_manifest`` and others name other files.
        settings: further keys, such as ``{"data.train_manifest": "train_manual.csv"}``.
        features: read every feature file too, as the verb ``check`` does.
    """
    places = {"paths.data_root": str(data_root), "paths.manifest_dir": str(manifest_dir)}
    config = with_settings(Config(), {**places, **(settings or {})})
    return DataReport(config, check(config) if features else check_tables(config))
