"""Invalid input ends with exit code 2, one clear message, no traceback, and nothing written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.wrong_inputs import edit_rows

Cli = Callable[..., Any]
MakeOverrides = Callable[[Path], list[str]]


def edit(name: str, change: Callable[[list[list[str]]], object]) -> Callable[[Path], object]:
    return lambda data: edit_rows(data / "manifests" / name, change)


def vector(name: str, content: Any) -> Callable[[Path], object]:
    path = f"features/image/{name}.npz"
    if isinstance(content, bytes):
        return lambda data: (data / path).write_bytes(content)
    return lambda data: np.savez(data / path, content)


def nothing(data: Path) -> None:
    return None


CASES: dict[str, tuple[Callable[[Path], object], list[str], list[str]]] = {
    "missing train": (lambda d: (d / "manifests/train.csv").unlink(), [], ["train.csv", "does not exist"]),
    "empty train": (lambda d: (d / "manifests/train.csv").write_text(""), [], ["train.csv", "empty"]),
    "header only": (edit("train.csv", lambda r: r.__delitem__(slice(1, None))), [], ["train.csv", "no rows"]),
    "no volumename": (edit("train.csv", lambda r: r[0].__setitem__(0, "number")), [], ["train.csv", "'volumename'"]),
    "no feature column": (edit("train.csv", lambda r: r[0].__setitem__(1, "f")), [], ["'visual_feature_path'"]),
    "duplicate volumes": (edit("train.csv", lambda r: r.append(r[5])), [], ["train_3_a_1", "line 62", "1 row"]),
    "label is text": (
        edit("train.csv", lambda r: r[7].__setitem__(3, "maybe")),
        ["data.columns.labels=[Lung nodule]"],
        ["train.csv", "'Lung nodule'", "'maybe'", "line 8", "0, 1 or blank"],
    ),
    "label absent in validation": (
        edit("valid.csv", lambda r: r[0].__setitem__(3, "Nodule")),
        [],
        ["valid.csv", "'Lung nodule'"],
    ),
    "row too long": (
        edit("train.csv", lambda r: r[3].append("1")),
        [],
        ["train.csv", "6 columns", "line 4 has 7 values"],
    ),
    "missing feature": (
        lambda d: (d / "features/image/train_9_a.npz").unlink(),
        [],
        ["train_9_a.npz", "train.csv line 18"],
    ),
    "torn feature": (vector("train_9_a", b"PK\x03\x04"), [], ["train_9_a.npz", "cannot be read"]),
    "wrong width": (
        vector("valid_9_a", np.zeros((1, 17))),
        [],
        ["valid_9_a.npz", "17 dimensions", "16", "valid.csv line"],
    ),
    "NaN": (vector("train_9_a", np.full((1, 16), np.nan)), [], ["train_9_a.npz", "NaN"]),
    "object array": (vector("train_9_a", np.array([{}], dtype=object)), [], ["train_9_a.npz", "pickled"]),
    "climbing path": (
        edit("train.csv", lambda r: r[2].__setitem__(1, "../../x.npz")),
        [],
        ["'../../x.npz'", "points outside"],
    ),
    "no such root": (nothing, ["paths.data_root=/no/such/root"], ["/no/such/root", "paths.data_root"]),
    "no such folder": (nothing, ["paths.manifest_dir=/no/such"], ["/no/such/train.csv"]),
    "unknown head": (nothing, ["model._target_=mlpp"], ["'mlpp'", "mlp,"]),
    "unknown loss": (nothing, ["training.loss._target_=bcee"], ["'bcee'", "bce,"]),
    "unknown monitor": (nothing, ["training.monitor=auc"], ["'auc'", "auroc"]),
    "unknown key": (nothing, ["training.lr=1"], ["'training.lr'"]),
    "unknown group": (nothing, ["model=vit"], ["vit"]),
    "bad value": (nothing, ["training.batch_size=0"], ["training.batch_size", "at least 1"]),
    "bad override": (nothing, ["batch size 3"], ["batch size 3", "key=value"]),
    "a grid without -m": (nothing, ["utils.seed=1,2"], ["utils.seed=1,2", "several values"]),
    "no such label": (nothing, ["training.target_labels=[Lung noodle]"], ["'Lung noodle'", "Lung nodule"]),
    "label twice": (nothing, ["training.target_labels=[Emphysema,Emphysema]"], ["'Emphysema'", "duplicate label"]),
    "wrong in_features": (nothing, ["model.params.in_features=512"], ["512", "16"]),
    "weights of another number": (nothing, ["training.loss.pos_weight=[1,2]"], ["pos_weight", "3 findings"]),
    "no such device": (nothing, ["utils.device=cuda:63"], ["cuda:63"]),
    "leak refused": (
        edit("valid.csv", lambda r: r[1].__setitem__(0, "train_3_z_1")),
        ["data.on_leak=refuse"],
        ["train_3", "valid.csv", "data.on_leak"],
    ),
    "no such test": (
        nothing,
        ["evaluation.after_training=true", "data.test_manifests=[none.csv]"],
        ["none.csv", "does not exist"],
    ),
    "two tests of one name": (
        lambda d: (d / "manifests/test.parquet").write_bytes(b""),
        ["evaluation.after_training=true", "data.test_manifests=[test.csv,test.parquet]"],
        ["test.csv, test.parquet would overwrite each other"],
    ),
    "no usual test": (
        lambda d: (d / "manifests/test.csv").unlink(),
        ["evaluation.after_training=true"],
        ["No test manifest", "data.test_manifests"],
    ),
    "nothing to resume": (nothing, ["training.resume.enabled=true"], ["No run to resume"]),
    "no such state": (nothing, ["training.resume.state_path=/no/run/checkpoints/last_state.pt"], ["No run to resume"]),
    "empty cohort": (
        nothing,
        ["data.cohort.where=[{column:Emphysema,op:'==',value:7}]"],
        ["train.csv", "leaves no row"],
    ),
    "no such column": (nothing, ["data.cohort.where=[{column:Age,op:'>',value:7}]"], ["no column 'Age'"]),
    "no such tree": (nothing, ["--config-dir", "/no/tree"], ["/no/tree", "does not exist"]),
}


@pytest.mark.parametrize("case", CASES)
def test_train_refuses_says_why_and_writes_nothing(
    cli: Cli, make_overrides: MakeOverrides, data: Path, tmp_path: Path, case: str
) -> None:
    damage, extra, parts = CASES[case]
    damage(data)
    ended = cli("train", *make_overrides(data), *extra)
    assert ended.code == 2, ended.err
    assert "Traceback" not in ended.err
    for part in parts:
        assert part in ended.err
        assert part in ended.json["error"]
    assert ended.json["exit"] == 2
    outputs = tmp_path / "outputs"
    assert not outputs.exists() or not list(outputs.rglob("*"))
    assert not list((tmp_path / "working").iterdir())


def test_paths_outside_the_allowed_folders_are_refused(
    cli: Cli, overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CTBENCH_ROOTS", str(tmp_path / "allowed"))
    ended = cli("train", *overrides)
    assert ended.code == 2
    assert "lies outside the allowed folders" in ended.err
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    "override",
    [
        "paths.outputs_root={0}/out",
        "paths.run_dir={0}/run",
        "paths.checkpoint_dir={0}/ckpt",
        "paths.latest_run_pointer={0}/latest.json",
        "data.cohort.exclude='{0}/names.txt'",
        "job_name='../../stolen'",
    ],
)
def test_nothing_is_written_or_read_outside_the_allowed_folders(
    cli: Cli, make_overrides: MakeOverrides, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, override: str
) -> None:
    (tmp_path / "outputs").mkdir()
    monkeypatch.setenv("CTBENCH_ROOTS", os.pathsep.join([str(data), str(tmp_path / "outputs")]))
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "names.txt").write_text("train_1_a_1")
    ended = cli("train", *make_overrides(data), override.format(outside))
    assert ended.code == 2, ended.err
    assert "lies outside the allowed folders" in ended.err or "leads to another folder" in ended.err
    assert [path.name for path in outside.iterdir()] == ["names.txt"]
    assert not list((tmp_path / "outputs").iterdir())
    assert cli("train", *make_overrides(data)).code == 0


def test_an_outputs_root_that_cannot_be_written_is_named(cli: Cli, overrides: list[str], tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("a file, not a folder")
    ended = cli("train", *overrides)
    assert ended.code == 2
    assert "Traceback" not in ended.err
    assert str(tmp_path / "outputs") in ended.err


def test_a_run_directory_is_not_used_twice(cli: Cli, overrides: list[str], tmp_path: Path) -> None:
    place = f"paths.run_dir={tmp_path / 'outputs' / 'mine'}"
    assert cli("train", *overrides, place).code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "outputs").rglob("*") if path.is_file()}
    ended = cli("train", *overrides, place, "utils.seed=3")
    assert ended.code == 2
    assert "already holds a run" in ended.err
    assert {path: path.read_bytes() for path in (tmp_path / "outputs").rglob("*") if path.is_file()} == before


def test_align_without_text_says_so(cli: Cli, make_overrides: MakeOverrides, data: Path, tmp_path: Path) -> None:
    edit_rows(data / "manifests" / "train.csv", lambda rows: rows[0].__setitem__(2, "note_path"))
    ended = cli("align", *make_overrides(data))
    assert ended.code == 2
    assert "no column 'text_feature_path'" in ended.err
    assert not (tmp_path / "outputs").exists()


def test_a_head_that_no_memory_holds_is_one_message(cli: Cli, overrides: list[str], tmp_path: Path) -> None:
    ended = cli("train", *overrides, "model.params.hidden_dims=[1000000000000]")
    assert ended.code == 1
    assert "Out of memory" in ended.err
    assert not (tmp_path / "outputs").exists()


def test_a_failed_training_exits_one_and_says_why(cli: Cli, overrides: list[str]) -> None:
    ended = cli("train", *overrides, "training.learning_rate=1e30", "training.optimizer=sgd")
    assert ended.code == 1
    assert "Lower training.learning_rate" in ended.err
    assert "Traceback" not in ended.err
