"""Train a head, and open runs of the run store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ctbench_core.api.data import DataReport
from ctbench_core.api.report import Report, Section, draw
from ctbench_core.api.settings import with_settings
from ctbench_core.config import Config
from ctbench_core.declared import macro_keys, metric_title
from ctbench_core.experiment import run_experiment
from ctbench_core.formatting import format_metric, plural
from ctbench_core.progress import Progress, silent
from ctbench_core.runs import VALIDATION, Run, disclosures_of, follow_history, history_frame
from ctbench_core.runs import open_run as open_stored

if TYPE_CHECKING:
    from ctbench_core.figures import Figure


@dataclass(frozen=True, repr=False)
class TrainingReport(Report):
    """A run of the run store.

    Attributes:
        run: its files, status and config.
        warnings: what to know of its inputs, as the verb ``train`` prints it; empty for a run that was opened.
    """

    run: Run
    warnings: tuple[str, ...] = ()

    @property
    def run_dir(self) -> Path:
        """The run directory."""
        return self.run.paths.root

    @property
    def validation(self) -> pd.DataFrame:
        """Macro means on validation at the best epoch: metric, value."""
        values = self.run.best().get("val_metrics", {})
        return pd.DataFrame({"metric": macro_keys(), "value": [values.get(key, float("nan")) for key in macro_keys()]})

    @property
    def history(self) -> pd.DataFrame:
        """Losses and macro means on validation, a row an epoch."""
        return history_frame(follow_history(self.run.paths.metrics))

    def figure(self) -> Figure:
        """Draw the losses and the validation metrics by epoch."""
        note = " · ".join(disclosures_of([self.run], VALIDATION).sentences())
        return draw(lambda figures: figures.epoch_curves(self.history), note)

    def _title(self) -> str:
        return f"Run {self.run.name}"

    def _sections(self) -> Iterator[Section]:
        status, best = self.run.status, self.run.best()
        head = f"{status.state} after {plural(status.epoch, 'epoch')}, best epoch {best.get('epoch', '–')}"
        shown = self.validation
        titles, values = shown["metric"].map(metric_title), shown["value"].map(format_metric)
        yield Section(head, pd.DataFrame({"Metric": titles, "Validation": values}))
        yield Section(str(self.run_dir))

    def _warnings(self) -> Sequence[str]:
        return self.warnings


def train(
    data: DataReport | Config, settings: Mapping[str, Any] | None = None, *, progress: Progress = silent
) -> TrainingReport:
    """Train one run to its end, and store it.

    Args:
        data: from `load`, or a config.
        settings: keys of the command line, such as ``{"model": "linear_probe", "training.learning_rate": 1e-3}``.
        progress: called with a phase, and how much of it is done.

    Raises:
        InputError: the input is at fault; nothing has been written.
        RunError: the training failed; the run directory says why.
    """
    config = with_settings(data if isinstance(data, Config) else data.config, settings)
    result = run_experiment(config, progress=progress)
    return TrainingReport(open_stored(result["run_dir"]), tuple(result["warnings"]))


def open_run(run_dir: Path | str) -> TrainingReport:
    """Open a run of the run store.

    Raises:
        InputError: the folder is not a run directory.
    """
    return TrainingReport(open_stored(run_dir))


def folder_of(run: TrainingReport | Path | str) -> Path:
    """Return the run directory of a report or a path."""
    return run.run_dir if isinstance(run, TrainingReport) else Path(run)
