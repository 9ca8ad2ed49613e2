"""The demo data set: created by a button, chosen, and ready to train on."""

from __future__ import annotations

import os
from pathlib import Path

from ctbench_core.config import KEYS, Config
from ctbench_core.errors import CtbenchError
from ctbench_ui import form
from ctbench_ui.pages import go
from ctbench_ui.shared import cache, datasets, feedback

NAME = "demo"


def folder() -> Path:
    """Return the folder of the demo data."""
    return Path(os.environ.get("CTBENCH_DEMO", "data/demo"))


def has_data() -> bool:
    """Whether the chosen training manifest is readable and has findings."""
    try:
        return bool(cache.manifest_summary(form.config())["labels"])
    except CtbenchError:
        return False


def create() -> None:
    """Write the demo data, choose them, and open the Train page with settings for a run of seconds."""
    from ctbench_core.demo import write_demo

    with feedback.show_errors("The demo data could not be written"):
        with feedback.progress_bar("Writing the demo data") as progress:
            places = write_demo(folder(), progress=progress)
        config = Config()
        config.paths.data_root, config.paths.manifest_dir = str(places["data_root"]), str(places["manifest_dir"])
        config.training.learning_rate, config.training.max_epochs = 1e-3, 60
        datasets.save(form.outputs_root(), NAME, config)
        form.fill_on_rerun(config, lambda key: KEYS[key].is_input or key.startswith("training."))
        go("train")
