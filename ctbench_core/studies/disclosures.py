"""The marks of a study: those of its finished runs, summed up for the files and figures that show them together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ctbench_core.config import Config
from ctbench_core.label_leakage import leakage_banner, leakage_mark
from ctbench_core.runs import Disclosures, RunStore
from ctbench_core.studies.layout import StudyPaths
from ctbench_core.studies.recipes import judged_on
from ctbench_core.studies.results import LEAKED, TRAINING, VALIDATION


def study_disclosures(paths: StudyPaths, results: pd.DataFrame, configs: Sequence[Config]) -> Disclosures:
    """Return the marks of a study.

    A test set's openings are counted over all runs of the study, as Evaluate counts those of a run's job: a study of
    1,000 runs opened its test 1,000 times. Of several test sets, or the folds of a K-fold, the one opened most often
    tells; a study that opened none has no count. The leak is the largest of any run and set; label origins are the
    distinct ones; one run that reads text brings its warning. Reads the ledger and no run.

    Args:
        results: as `read_results` gives them.
        configs: of the finished runs.
    """
    tests = sorted(set(results["set"]) - {VALIDATION, TRAINING})
    entries = RunStore(paths.root.parent).openings(paths.root.name) if tests else []
    openers: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        openers[Path(str(entry.get("manifest", ""))).stem].append(Path(str(entry.get("run", ""))).name)
    most = max((openers.get(Path(name).stem, []) for name in tests), key=len, default=[])
    return Disclosures(
        on=judged_on(results),
        openings=len(most) if tests else None,
        runs=len(set(most)),
        leaked=int(results.loc[results["metric"] == LEAKED, "value"].max()) if len(results) else 0,
        label_origins=sorted({config.data.label_origin for config in configs}),
        warning="; ".join(dict.fromkeys(filter(None, map(leakage_mark, configs)))),
        banner=" ".join(dict.fromkeys(filter(None, map(leakage_banner, configs)))),
    )
