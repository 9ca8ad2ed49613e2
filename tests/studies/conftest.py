"""A small study on the tiny data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ctbench_core.studies import Study, parse_study

SMALL = {"training.max_epochs": 3, "training.batch_size": 16, "model.params.hidden_dims": [8]}
GRID = {"utils.seed": [1, 2], "model": ["mlp_visual", "linear_probe"]}


@pytest.fixture
def make_study(tiny_data: Path, tmp_path: Path) -> Callable[..., Study]:
    """Return a builder of studies on the tiny data set; ``base`` and ``grid`` are mappings."""

    def build(grid: dict[str, Any] | None = None, base: dict[str, Any] | None = None, **parts: Any) -> Study:
        places = {
            "paths.data_root": str(tiny_data / "features"),
            "paths.manifest_dir": str(tiny_data / "manifests"),
            "paths.outputs_root": str(tmp_path / "outputs"),
        }
        return parse_study({"name": "tiny", "base": {**places, **SMALL, **(base or {})}, "grid": grid or GRID, **parts})

    return build
