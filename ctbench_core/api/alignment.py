"""Measure how well volumes and reports retrieve each other."""

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
from ctbench_core.declared import DIRECTIONS, INSTANCE, SEMANTIC, TRUTHS, retrieval_prefix
from ctbench_core.errors import unknown_name
from ctbench_core.formatting import format_interval, format_metric
from ctbench_core.progress import Progress, silent
from ctbench_core.runs import Run, alignment_frame, alignment_sentences, open_run, read_alignment, read_result_csv

if TYPE_CHECKING:
    from ctbench_core.figures import Figure

_KINDS = ("paired", "unpaired")


@dataclass(frozen=True, repr=False)
class AlignmentReport(Report):
    """An alignment of the run store.

    Attributes:
        run: its files and config.
        name: of the manifest or array file.
        values: every number, under the names of the verb ``align``.
    """

    run: Run
    name: str
    values: Mapping[str, Any]

    @property
    def metrics(self) -> pd.DataFrame:
        """Every metric with its interval, or why there is none: figure, value, lower, upper, no_interval."""
        return alignment_frame(self.values)

    @property
    def recall(self) -> pd.DataFrame:
        """Recall at each K by direction and by what counts as a hit (``truth``), with chance and interval."""
        return read_result_csv(self._folder / "recall.csv")

    @property
    def similarities(self) -> pd.DataFrame:
        """Histogram of paired and unpaired similarities."""
        return read_result_csv(self._folder / "histogram.csv")

    def figure(self, truth: str = INSTANCE) -> Figure:
        """Draw Recall@K of both directions with chance.

        Args:
            truth: ``instance``, the pairs themselves, or ``semantic``, hits with the same findings.
        """
        rows = self._of_truth(self.recall, truth)
        return draw(lambda figures: figures.recall_at_k(rows), self._note())

    def similarity_figure(self, truth: str = INSTANCE) -> Figure:
        """Draw the similarities of pairs, and of all other combinations."""
        rows, prefix = self._of_truth(self.similarities, truth), retrieval_prefix(truth)
        means = {kind: self.values.get(f"{prefix}mean_{kind}_similarity") for kind in _KINDS}
        return draw(lambda figures: figures.similarity_histogram(rows, means), self._note())

    @property
    def _folder(self) -> Path:
        return self.run.paths.alignment(self.name)

    def _of_truth(self, frame: pd.DataFrame, truth: str) -> pd.DataFrame:
        if truth not in set(frame["truth"]):
            raise unknown_name("truth", truth, list(dict.fromkeys(frame["truth"])))
        return frame[frame["truth"] == truth]

    def _note(self) -> str:
        return " · ".join(alignment_sentences(self.run.config, self.name, self.values))

    def _title(self) -> str:
        return f"Alignment of {self.name}"

    def _sections(self) -> Iterator[Section]:
        yield Section(self._note())
        titles = {INSTANCE: TRUTHS[self.run.config.analysis.truth].title, SEMANTIC: TRUTHS["labels"].title}
        recall = self.recall
        for truth, part in recall[recall["truth"].isin(titles)].groupby("truth", sort=False):
            yield Section(f"Hit: {titles[str(truth)]}", _recall_table(part))
        means = [f"{kind} {format_metric(self.values.get(f'mean_{kind}_similarity'), 4)}" for kind in _KINDS]
        yield Section(f"Mean similarity: {', '.join(means)}")

    def _warnings(self) -> Sequence[str]:
        return list(self.values.get("warnings", []))


def _recall_table(recall: pd.DataFrame) -> pd.DataFrame:
    """Return recall with interval and chance as text, a row a K; chance once where both directions have the same."""
    columns: dict[str, list[str]] = {"K": [f"{k:,}" for k in recall["k"].drop_duplicates()]}
    chances = {}
    for direction, rows in recall.groupby("direction", sort=False):
        title = DIRECTIONS[str(direction)].title
        bounds = rows[["recall", "lower", "upper"]].to_numpy().tolist()
        columns[title] = [format_interval(value, ends) for value, *ends in bounds]
        chances[f"Chance, {title}"] = [format_metric(chance) for chance in rows["chance"]]
    first = next(iter(chances.values()))
    is_same = all(chance == first for chance in chances.values())
    return pd.DataFrame(columns | ({"Chance": first} if is_same else chances))


def align(
    data: DataReport | Config | Path | str,
    settings: Mapping[str, Any] | None = None,
    *,
    progress: Progress = silent,
) -> AlignmentReport:
    """Measure the alignment of volumes and reports, and store it.

    Args:
        data: from `load`, whose ``data.train_manifest`` is measured; or a config; or an .npz with arrays ``image`` and
            ``text``, whose rows are pairs.
        settings: keys of the command line, such as ``{"data.train_manifest": "test.csv"}``.

    Raises:
        InputError: the input is unusable; nothing has been written.
    """
    from ctbench_core.alignment import run_alignment

    embeddings = data if isinstance(data, (str, Path)) else None
    base = data.config if isinstance(data, DataReport) else data if isinstance(data, Config) else Config()
    config = with_settings(base, {"hydra.job.name": "align", **(settings or {})})
    run = open_run(run_alignment(config, embeddings=embeddings, progress=progress)["run_dir"])
    (name,) = run.alignments()
    return AlignmentReport(run, name, read_alignment(run.paths.alignment(name)) or {})
