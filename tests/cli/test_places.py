"""With CTBENCH_ROOTS, no verb reads or writes outside it, by whatever argument; an imported config reads no environment."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ctbench_core.config import Config, set_key
from ctbench_core.experiment import run_experiment
from tests.conftest import SMALL_RUN

Cli = Callable[..., Any]


@pytest.fixture(scope="module")
def base(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with data, a run store with one run and a link out of it, and a folder outside with copies."""
    base = tmp_path_factory.mktemp("places")
    shutil.copytree(tiny_data, base / "data")
    paths = {"paths.data_root": base / "data" / "features", "paths.manifest_dir": base / "data" / "manifests"}
    config = Config()
    for key, value in {**SMALL_RUN, **paths, "paths.outputs_root": base / "outputs"}.items():
        set_key(config, key, str(value) if isinstance(value, Path) else value)
    run_dir, outside = Path(run_experiment(config)["run_dir"]), base / "outside"
    shutil.copytree(run_dir, outside / "run")
    shutil.copy(base / "data" / "manifests" / "test.csv", outside / "table.csv")
    (outside / "study.yaml").write_text("name: s\ngrid: {utils.seed: [1, 2]}\n", encoding="utf-8")
    (outside / "config.yaml").write_text("utils: {seed: 3}\n", encoding="utf-8")
    (base / "outputs" / "link").symlink_to(outside, target_is_directory=True)
    return base


@pytest.fixture
def places(base: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Allow the data and the run store only; return the places that attempts name."""
    monkeypatch.setenv("CTBENCH_ROOTS", os.pathsep.join([str(base / "data"), str(base / "outputs")]))
    store = base / "outputs"
    (status,) = store.glob("train/*/status.json")
    return {
        "out": base / "outside",
        "link": store / "link",
        "run": status.parent,
        "up": base / "data" / "..",
        "data": base / "data",
        "store": store,
        "job": status.parents[1],
    }


ATTEMPTS = [
    "evaluate run={out}/run",
    "evaluate run={link}/run",
    "evaluate paths.checkpoint_path={out}/run/checkpoints/final_model.pt",
    "train training.resume.state_path={out}/run/checkpoints/last_state.pt",
    "train paths.run_dir={up}/outside/new",
    "train hydra.run.dir={out}/new",
    "compare {out}/run {run}",
    "compare {run} {out}/run",
    "compare {run} {run} paper={out}/paper",
    "compare {run} {run} paper={link}/paper",
    "compare {run} {run} paper={up}/outside/paper",
    "export {out}/run",
    "export {link}/run",
    "export run={out}/run",
    "import {out}",
    "import {link}",
    "aggregate {out}",
    "aggregate {job} output_dir={out}/tables",
    "aggregate {job} output_prefix=../../outside/stolen",
    "contrast first={out}/table.csv second={out}/table.csv",
    "budgets budgets=[5] output_dir={out}/budgets",
    "budgets budgets=[5] prefix=../../outside/stolen",
    "study {out}/study.yaml",
    "search {out}/study.yaml",
    "score {out}/table.csv",
    "score {data}/manifests/test.csv manifest={out}/table.csv",
    "align embeddings={out}/table.csv",
    "prepare labels_csv={out}/table.csv",
    "prepare labels_csv={data}/manifests/test.csv output_file={out}/new.csv",
    "prepare dataset=merlin root={out}",
    "agree first_csv={out}/table.csv second_csv={out}/table.csv",
    "check paths.data_root={out}",
    "check paths.manifest_dir={up}/outside",
    "pack paths.cache_dir={out}/packed",
    "train --config-dir={out}",
]


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_no_verb_leaves_the_allowed_folders(cli: Cli, places: dict[str, Path], attempt: str) -> None:
    before = sorted(places["out"].rglob("*")), sorted(places["store"].rglob("*"))
    verb, *arguments = attempt.format(**places).split()
    own = {"paths.data_root": "features", "paths.manifest_dir": "manifests"}
    settings = [f"{key}={places['data'] / folder}" for key, folder in own.items() if key not in attempt]
    takes_config = verb not in ("compare", "export", "study", "agree", "import")
    ended = cli(verb, *(settings if takes_config else []), *arguments)
    assert ended.code == 2, (ended.out, ended.err)
    assert "CTBENCH_ROOTS" in ended.err or "leads out" in ended.err, ended.err
    assert (sorted(places["out"].rglob("*")), sorted(places["store"].rglob("*"))) == before


def test_runs_inside_are_evaluated_compared_and_exported(cli: Cli, places: dict[str, Path]) -> None:
    run = str(places["run"])
    for arguments in (["evaluate", f"run={run}"], ["compare", run, run], ["export", run]):
        ended = cli(*arguments)
        assert ended.code == 0, ended.err


def test_an_imported_config_reads_nothing_of_this_machine(
    cli: Cli, make_old_run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CTBENCH_SECRET", "pass-word-7")
    root = make_old_run()
    config = root / ".hydra" / "config.yaml"
    content = yaml.safe_load(config.read_text(encoding="utf-8"))
    content["utils"]["device"] = "${oc.env:CTBENCH_SECRET}"
    content["data"]["columns"]["grouping_col"] = "${oc.decode:${oc.env:CTBENCH_SECRET}}"
    content["training"]["task_type"] = "${${name}:CTBENCH_SECRET}"
    content["name"] = "oc.env"
    config.write_text(yaml.safe_dump(content), encoding="utf-8")
    ended = cli("import", str(root), f"paths.outputs_root={tmp_path / 'outputs'}")
    assert ended.code == 0, ended.err
    assert "utils.device" in ended.out
    written = [path for path in (tmp_path / "outputs").rglob("*") if path.is_file()]
    assert written
    assert "pass-word-7" not in ended.out + ended.err
    assert not any(b"pass-word-7" in path.read_bytes() for path in written)
