"""With CTBENCH_ROOTS, nothing is read or written outside it: by argument, name, config, link or archive; no file runs code.

Escapes by address and header are in tests/browser/test_server.py; `benchmarks/README.md` counts them all.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import yaml

from ctbench_core.config import Config, set_key
from ctbench_core.errors import InputError
from ctbench_core.experiment import run_experiment
from ctbench_core.export import export_run
from ctbench_core.runs import RunStore, delete_run, open_run
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
    _write_traps(base, outside)
    return base


CODE = "!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [%s]]"


class Trap:
    """Unpickling this makes a file: proof that code ran."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.target,)


def _write_traps(base: Path, outside: Path) -> None:
    """Write files inside the allowed folders that lead out of them: configs, links, archives and code."""
    traps, image = base / "data" / "traps", base / "data" / "features" / "image"
    traps.mkdir()
    paths = f"paths.data_root: {base}/data/features, paths.manifest_dir: {base}/data/manifests"
    configs = {
        "cache": f"paths: {{cache_dir: {outside}}}",
        "store": f"paths: {{outputs_root: {outside}/new}}",
        "environment": "paths: {outputs_root: '${oc.env:HOME}/new'}",
        "run": f"hydra: {{run: {{dir: {outside}/new}}}}",
        "search": f"hydra: {{searchpath: ['file://{outside}']}}\ndefaults: [_self_, other: config]",
        "import": "training: {loss: {_target_: os.system, command: 'touch stolen'}}",
        "head": "model: {_target_: subprocess.run}",
        "code": CODE % (outside / "stolen"),
        "job": "job_name: ../../outside/stolen",
        "pointer": f"paths: {{latest_run_pointer: {outside}/stolen.json}}",
        "tests": "data: {test_manifests: [../../outside/table.csv]}\nevaluation: {after_training: true}",
        "prompts": f"model: {{prompts: {outside}/table.csv}}",
        "labels": f"data: {{labels: {{rename: {outside}/table.csv}}}}",
    }
    for name, text in configs.items():
        folder = traps / f"tree-{name}"
        folder.mkdir()
        (folder / "config.yaml").write_text(text + "\n", encoding="utf-8")
    studies = {
        "name": f"name: ../..\nbase: {{{paths}}}\ngrid: {{utils.seed: [1]}}",
        "base": f"name: s\nbase: {{paths.data_root: {outside}}}\ngrid: {{utils.seed: [1]}}",
        "store": f"name: s\nbase: {{{paths}, paths.outputs_root: {outside}/new}}\ngrid: {{utils.seed: [1]}}",
        "source": f"name: s\nbase: {{{paths}}}\ngrid: {{source: {{a: {outside}}}}}",
        "encoder": f"name: s\nbase: {{{paths}}}\ngrid: {{encoder: {{a: {outside}}}}}",
        "axis": f"name: s\nbase: {{{paths}}}\ngrid: {{paths.manifest_dir: [{outside}]}}",
        "code": f"name: {CODE % (outside / 'stolen')}\nbase: {{{paths}}}\ngrid: {{utils.seed: [1]}}",
    }
    for name, text in studies.items():
        (traps / f"study-{name}.yaml").write_text(text + "\n", encoding="utf-8")
    (traps / "manifest.csv").symlink_to(outside / "table.csv")
    (traps / "old").symlink_to(outside, target_is_directory=True)
    vector = np.ones(16, np.float32)
    np.savez(outside / "vector.npz", vector)
    (image / "link.npz").symlink_to(outside / "vector.npz")
    (image / "folder").symlink_to(outside, target_is_directory=True)
    with zipfile.ZipFile(traps / "slip.npz", "w") as archive:
        stream = io.BytesIO()
        np.save(stream, vector)
        archive.writestr("../../../outside/stolen.npy", stream.getvalue())
    shutil.copy(traps / "slip.npz", traps / "slip.zip")
    with tarfile.open(traps / "slip.tar.gz", "w:gz") as archive:
        for name, kind, target in (
            ("a", tarfile.SYMTYPE, str(outside)),
            ("b", tarfile.CHRTYPE, ""),
            ("/c", tarfile.REGTYPE, ""),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            archive.addfile(member)
    np.save(image / "code.npy", np.array([Trap(outside / "stolen")], dtype=object), allow_pickle=True)
    np.savez(image / "code.npz", np.array([Trap(outside / "stolen")], dtype=object), allow_pickle=True)
    for name in ("code.pt", "code.pth"):
        torch.save(Trap(outside / "stolen"), image / name)
    np.savez(traps / "pairs.npz", image=np.array([Trap(outside / "stolen")], dtype=object), text=vector[None])
    (image / "code.safetensors").write_bytes((image / "code.npy").read_bytes())
    (image / "header.npy").write_bytes(
        b"\x93NUMPY\x01\x00v\x00" + b"{'descr': __import__('os').system('touch stolen'), 'shape': (16,)}".ljust(118)
    )
    with h5py.File(image / "link.h5", "w") as file:
        file["features"] = h5py.ExternalLink(str(outside / "secret.h5"), "features")
    with h5py.File(outside / "secret.h5", "w") as file:
        file["features"] = vector
    with h5py.File(image / "storage.h5", "w") as file:
        file.create_dataset("features", (16,), "f4", external=[(str(outside / "vector.npz"), 0, 64)])
    for name in FEATURES:
        row = f"train_1_a_1,{name.format(out=outside)},,1,0,1\n"
        head = "volumename,visual_feature_path,text_feature_path,Lung nodule,Lung opacity,Emphysema\n"
        (traps / f"{FEATURES.index(name)}.csv").write_text(head + row, encoding="utf-8")


# Paths in a manifest.
FEATURES = [
    "image/link.npz",
    "image/folder/vector.npz",
    "../../outside/vector.npz",
    "image/../../../outside/vector.npz",
    "..\\..\\outside\\vector.npz",
    "{out}/vector.npz",
    "C:\\outside\\vector.npz",
    "image/code.npy",
    "image/code.npz",
    "image/code.pt",
    "image/code.pth",
    "image/code.safetensors",
    "image/header.npy",
    "image/link.h5",
    "image/storage.h5",
    "../traps/slip.npz",
    "file://{out}/vector.npz",
    "\\\\server\\share\\vector.npz",
]


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
    "train data.train_manifest={out}/table.csv",
    "train data.train_manifest=../../outside/table.csv",
    "train data.train_manifest=../traps/manifest.csv",
    "train data.test_manifests=[../../outside/table.csv] evaluation.after_training=true",
    "train data.selection={out}/table.csv",
    "train data.cohort.exclude={out}/table.csv",
    "train data.labels.rename={out}/table.csv",
    "train data.per_finding={{Emphysema:{out}}}",
    "train model=zero_shot model.prompts={out}/table.csv",
    "train paths.outputs_root={out}/new",
    "train paths.outputs_root={link}/new",
    "train paths.job_base_dir={out}/new",
    "train paths.checkpoint_dir={out}/new",
    "train paths.latest_run_pointer={out}/stolen.json",
    "train job_name=../../outside/stolen",
    "train job_name={out}/stolen",
    "train job_name=..",
    "train job_name=.trash",
    "train hydra.job.name=../../outside/stolen",
    "train evaluation.checkpoint_name=../../../outside/stolen.pt",
    "train -m utils.seed=1,2 job_name=../../outside/stolen",
    "score {data}/manifests/scores.csv job_name=../../outside/stolen name=x",
    "search name=../../outside/stolen utils.seed=1,2",
    "aggregate {job} output_prefix={out}/stolen",
    "export {store}/link/run",
    "evaluate run={job}/../../outside/run",
    "import {data}/traps/old",
    "import {data}/traps/slip.zip",
    "import {data}/traps/slip.tar.gz",
    "align embeddings={data}/traps/pairs.npz",
    *[f"train --config-dir={{data}}/traps/tree-{name}" for name in (
        "cache", "store", "environment", "run", "search", "import", "head", "code", "job", "pointer", "tests", "prompts", "labels")],
    *[f"study {{data}}/traps/study-{name}.yaml" for name in ("name", "base", "store", "source", "encoder", "axis", "code")],
    *[f"train data.train_manifest=../traps/{number}.csv" for number in range(len(FEATURES))],
]  # fmt: skip


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_no_verb_leaves_the_allowed_folders(cli: Cli, places: dict[str, Path], attempt: str) -> None:
    before = sorted(places["out"].rglob("*")), sorted(places["store"].rglob("*"))
    verb, *arguments = attempt.format(**places).split()
    own = {"paths.data_root": "features", "paths.manifest_dir": "manifests"}
    settings = [f"{key}={places['data'] / folder}" for key, folder in own.items() if key not in attempt]
    takes_config = verb not in ("compare", "export", "study", "agree", "import")
    ended = cli(verb, *(settings if takes_config else []), *arguments)
    assert ended.code == 2, (ended.out, ended.err)
    assert "Traceback" not in ended.err
    assert not list(Path.cwd().rglob("stolen*"))
    assert (sorted(places["out"].rglob("*")), sorted(places["store"].rglob("*"))) == before


def test_runs_inside_are_evaluated_compared_and_exported(cli: Cli, places: dict[str, Path]) -> None:
    run = str(places["run"])
    for arguments in (["evaluate", f"run={run}"], ["compare", run, run], ["export", run]):
        ended = cli(*arguments)
        assert ended.code == 0, ended.err


def test_links_in_the_store_that_lead_out_are_not_followed(cli: Cli, places: dict[str, Path], tmp_path: Path) -> None:
    store, out = places["store"], places["out"]
    listed = [run.paths.root for run in RunStore(store).runs()]
    assert places["run"] in listed
    assert not any("link" in run.parts for run in listed)
    own = Path(shutil.copytree(places["run"], store / "other" / "run"))
    (own / "notes.txt").symlink_to(out / "table.csv")
    (own / "folder").symlink_to(out, target_is_directory=True)
    names = export_run(own, tmp_path / "run.zip")["files"]
    assert not any("notes.txt" in name or "folder" in name for name in names)
    shutil.rmtree(own / "evaluation", ignore_errors=True)
    (own / "evaluation").symlink_to(out, target_is_directory=True)
    (store / ".trash").symlink_to(out, target_is_directory=True)
    before = sorted(out.rglob("*"))
    ended = cli("evaluate", f"run={own}")
    assert ended.code == 2
    assert "CTBENCH_ROOTS" in ended.err
    with pytest.raises(InputError, match="is a link"):
        delete_run(store, open_run(own))
    assert sorted(out.rglob("*")) == before
    (store / ".trash").unlink()
    shutil.rmtree(own.parent)


def test_a_link_in_an_older_run_is_not_imported(
    cli: Cli, make_old_run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_old_run()
    model = root / "checkpoints" / "final_model.pt"
    model.rename(tmp_path / "elsewhere.pt")
    model.symlink_to(tmp_path / "elsewhere.pt")
    monkeypatch.setenv("CTBENCH_ROOTS", os.pathsep.join([str(root), str(tmp_path / "outputs")]))
    ended = cli("import", str(root), f"paths.outputs_root={tmp_path / 'outputs'}")
    assert "CTBENCH_ROOTS" in ended.out
    assert not list((tmp_path / "outputs").rglob("*.pt"))


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
