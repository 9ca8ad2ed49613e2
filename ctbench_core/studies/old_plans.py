"""Read plans of format 1, which named their runs but did not hold their settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ctbench_core.config import as_introduced, changed_keys, set_keys
from ctbench_core.studies.identity import former_defaults, introduced_since
from ctbench_core.studies.layout import StudyPaths
from ctbench_core.studies.study import parse_study


def upgrade(content: Mapping[str, Any], paths: StudyPaths) -> dict[str, Any]:
    """Return the content of a plan in the present format.

    What the definition left open had the default of its day. A run that has started holds it for all runs that were
    planned together with it; where none has started, it is today's.
    """
    studies = [parse_study(study) for study in content["studies"]]
    points = {tuple(sorted(point.labels.items())): (study, point) for study in studies for point in study.points()}
    own_keys = {key for study in studies for key in study.keys_set()} | {"data.reference"}
    extensions, runs = [], []
    for number, extension in enumerate(content["extensions"]):
        planned = [run for run in content["runs"] if run["extension"] == number]
        defaults = former_defaults([paths.run(run["id"]) for run in planned], own_keys)
        base = set_keys(as_introduced(), defaults)
        for run in planned:
            study, point = points[tuple(sorted(run["labels"].items()))]
            runs.append(
                {**run, "changes": changed_keys(study.config(point, introduced_since(defaults) | defaults), base)}
            )
        extensions.append({**extension, "defaults": defaults})
    order = [run["id"] for run in content["runs"]]
    runs.sort(key=lambda run: order.index(run["id"]))
    return {**content, "runs": runs, "extensions": extensions, "superseded": []}
