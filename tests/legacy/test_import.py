"""Old runs are listed, imported, evaluated and compared, with the metrics of a plain PyTorch forward pass."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from ctbench_core.errors import InputError
from ctbench_core.evaluate import evaluate_run
from ctbench_core.legacy import find_old_runs, import_runs, list_runs
from ctbench_core.runs import RunStore, open_run
from tests.old_system import MLP, epoch_metrics, read_split

Cli = Callable[..., Any]
Old = Callable[..., Path]


def plain_forward(old: Path, data: Path, manifest: str, labels: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return targets and probabilities as plain PyTorch gives them, in float64."""
    state = torch.load(old / "checkpoints" / "final_model.pt", weights_only=True)
    model = MLP(state["network.0.weight"].shape[1], [8], len(labels), 0.35)
    model.load_state_dict(state)
    x, y = read_split(data, manifest, labels)
    with torch.no_grad():
        return y, model.eval().double()(x.double()).sigmoid().numpy()


def test_an_imported_run_has_the_metrics_of_a_plain_forward_pass(
    make_old_run: Old, tmp_path: Path, labels: list[str]
) -> None:
    old = make_old_run()
    before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    (run,) = import_runs(old, tmp_path / "store")
    assert (run.new, run.job, run.epochs) == (True, "manual_budget", 4)
    result = evaluate_run(run.run_dir)["test"]["test.csv"]
    y, probabilities = plain_forward(old, tmp_path / "project" / "data", "test.csv", labels)
    expected = epoch_metrics(y, probabilities, labels)
    for name in ("auprc", "auroc", "f1_macro"):
        assert result[name] == pytest.approx(expected[name], abs=1e-6)
    for label in labels:
        for name in ("precision", "recall", "f1", "support"):
            assert result["per_class"][label][name] == pytest.approx(expected["per_class"][label][name], abs=1e-6)
    assert {path: path.read_bytes() for path in old.rglob("*") if path.is_file()} == before


def test_it_is_listed_with_its_history_and_its_best_epoch(make_old_run: Old, tmp_path: Path, labels: list[str]) -> None:
    old = make_old_run()
    import_runs(old, tmp_path / "store")
    (run,) = RunStore(tmp_path / "store").runs()
    written = [json.loads(line) for line in (old / "metrics.jsonl").read_text().splitlines()]
    best = json.loads((old / "best_metrics.json").read_text())
    assert run.run_id.startswith("20251103T")
    assert (run.name, run.job, run.status.state) == ("2025-11-03_10-20-30", "manual_budget", "finished")
    assert [line["val_metrics"]["auprc"] for line in run.history()] == [w["val_metrics"]["auprc"] for w in written]
    assert (run.best()["epoch"], run.best()["val_metrics"]["auroc"]) == (best["epoch"], best["val_metrics"]["auroc"])
    assert all(list(line["val_metrics"]["per_class"]) == labels for line in [*run.history(), run.best()])
    assert run.history()[-1]["best_epoch"] == best["epoch"]
    assert run.config.training.target_labels == labels
    assert run.config.model.params.hidden_dims == [8]
    assert (run.config.paths.run_dir, run.config.paths.checkpoint_dir) == (None, None)
    assert Path(run.config.paths.data_root) == tmp_path / "project" / "data" / "features"


def test_importing_again_makes_no_copy_even_from_another_place(make_old_run: Old, tmp_path: Path) -> None:
    old = make_old_run()
    (first,) = import_runs(old, tmp_path / "store")
    moved = tmp_path / "archive" / "manual_budget" / old.name
    shutil.copytree(old, moved)
    (again,) = import_runs(moved, tmp_path / "store")
    assert (again.new, again.present, again.run_dir) == (False, True, first.run_dir)


def test_a_folder_of_runs_is_imported_and_one_bad_run_stops_none(make_old_run: Old, tmp_path: Path) -> None:
    for seed in (1, 2):
        make_old_run(f"gpt_budget/train_n50_s{seed}", seed=seed)
    bad = make_old_run("gpt_budget/train_n50_s3", seed=3)
    torch.save({"model": MLP}, bad / "checkpoints" / "final_model.pt")
    listed = list_runs(tmp_path / "project", tmp_path / "store")
    assert [run.label for run in listed] == ["train_n50_s1", "train_n50_s2", "train_n50_s3"]
    assert not (tmp_path / "store").exists()
    imported = import_runs(tmp_path / "project", tmp_path / "store")
    assert [run.new for run in imported] == [True, True, False]
    assert "could run code" in imported[2].problem
    assert {run.job for run in RunStore(tmp_path / "store").runs()} == {"gpt_budget"}


def test_a_stopped_run_gives_its_best_weights_from_its_snapshot(make_old_run: Old, tmp_path: Path) -> None:
    """Its random states hold a NumPy array, which torch refuses by itself; nothing in it is run."""
    old = make_old_run(finished=False)
    (imported,) = import_runs(old, tmp_path / "store")
    run = open_run(imported.run_dir)
    assert run.status.state == "cancelled"
    expected = torch.load(old / "checkpoints" / "last_state.pt", weights_only=False)["best_model_state"]
    stored = torch.load(run.paths.final_model, weights_only=True)
    assert all(torch.equal(stored[name], tensor) for name, tensor in expected.items())


class _Harmful:
    """A pickle that touches a file when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path(self.path),))

    def __init__(self, path: Path) -> None:
        self.path = str(path)


@pytest.mark.parametrize("finished", [True, False])
def test_no_code_in_a_checkpoint_is_run(make_old_run: Old, tmp_path: Path, finished: bool) -> None:
    old = make_old_run(finished=finished)
    name = "final_model.pt" if finished else "last_state.pt"
    torch.save({"best_model_state": _Harmful(tmp_path / "harmed")}, old / "checkpoints" / name)
    (imported,) = import_runs(old, tmp_path / "store")
    assert "could run code" in imported.problem
    assert not (tmp_path / "harmed").exists()
    with (old / "checkpoints" / name).open("wb") as file:
        pickle.dump(_Harmful(tmp_path / "harmed"), file, protocol=2)
    (imported,) = import_runs(old, tmp_path / "store")
    assert imported.problem
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize(
    "missing", [("metrics.jsonl",), ("best_metrics.json",), ("metrics.jsonl", "best_metrics.json")]
)
def test_missing_files_are_replaced_by_the_others(make_old_run: Old, tmp_path: Path, missing: tuple[str, ...]) -> None:
    old = make_old_run()
    best = json.loads((old / "best_metrics.json").read_text())["val_metrics"]
    for name in missing:
        (old / name).unlink()
    (imported,) = import_runs(old, tmp_path / "store")
    assert imported.best_val == {
        name: best[name] for name in ("auprc", "auroc", "f1_macro")
    }  # at last from the pointer
    assert evaluate_run(imported.run_dir)["test"]["test.csv"]["n"]["volumes"] == 24


@pytest.mark.parametrize(("field", "value"), [("auprc", {}), ("auprc", 1e300), ("epoch", float("inf"))])
def test_a_metric_or_epoch_of_another_type_is_named(make_old_run: Old, tmp_path: Path, field: str, value: Any) -> None:
    old = make_old_run()
    for name in ("metrics.jsonl", "best_metrics.json"):
        lines = (old / name).read_text().splitlines() if name == "metrics.jsonl" else [(old / name).read_text()]
        content = json.loads(lines[0])
        (content if field in content else content["val_metrics"])[field] = value
        copy = Path(shutil.copytree(old, tmp_path / name.partition(".")[0] / old.name))
        (copy / name).write_text("\n".join([json.dumps(content), *lines[1:]]) + "\n")
        (imported,) = list_runs(copy, tmp_path / "store")
        assert f"{name} is damaged" in imported.problem


def test_a_line_of_the_history_that_is_no_object_is_named(make_old_run: Old, tmp_path: Path) -> None:
    old = make_old_run()
    lines = (old / "metrics.jsonl").read_text().splitlines()
    (old / "metrics.jsonl").write_text("\n".join([lines[0], "[]", *lines[1:]]) + "\n")
    (imported,) = list_runs(old, tmp_path / "store")
    assert "metrics.jsonl is damaged" in imported.problem and "expected a JSON object" in imported.problem


def test_a_best_metric_that_was_not_stored_is_that_of_the_history(make_old_run: Old, tmp_path: Path) -> None:
    old = make_old_run()
    best = json.loads((old / "best_metrics.json").read_text())
    auroc = best["val_metrics"].pop("auroc")
    (old / "best_metrics.json").write_text(json.dumps(best))
    (imported,) = list_runs(old, tmp_path / "store")
    assert imported.best_val["auroc"] == auroc and not any("AUROC" in text for text in imported.warnings)
    (old / "metrics.jsonl").unlink()
    (imported,) = list_runs(old, tmp_path / "store")
    assert imported.best_val["auroc"] is None
    assert "No validation AUROC of the best epoch: the run did not store it." in imported.warnings


def test_a_history_that_is_cut_is_named(make_old_run: Old, tmp_path: Path) -> None:
    old = make_old_run()
    content = (old / "metrics.jsonl").read_bytes()
    (old / "metrics.jsonl").write_bytes(content[:-40])
    (imported,) = list_runs(old, tmp_path / "store")
    assert any("metrics.jsonl ends in the middle of a line" in text for text in imported.warnings)


def test_findings_are_those_of_the_config_and_must_fit_the_head(make_old_run: Old, tmp_path: Path) -> None:
    old = make_old_run()
    (imported,) = import_runs(old, tmp_path / "store", {"training.target_labels": ["Lung nodule"]})
    assert "has 3 outputs, but the config names 1 finding" in imported.problem
    assert not (tmp_path / "store").exists()


def test_data_that_has_moved_is_named_by_overrides(make_old_run: Old, tmp_path: Path, tiny_data: Path) -> None:
    old = make_old_run()
    shutil.rmtree(tmp_path / "project" / "data")
    places = {"paths.data_root": str(tiny_data / "features"), "paths.manifest_dir": str(tiny_data / "manifests")}
    (imported,) = import_runs(old, tmp_path / "store", places)
    assert evaluate_run(imported.run_dir)["test"]["test.csv"]["n"]["patients"] == 12


def test_a_folder_without_old_runs_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.hydra/config\.yaml and checkpoints/final_model\.pt"):
        find_old_runs(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        find_old_runs(tmp_path / "nothing")


def test_the_verb_lists_imports_and_reports_ignored_keys(make_old_run: Old, cli: Cli, tmp_path: Path) -> None:
    old = make_old_run()
    store = f"paths.outputs_root={tmp_path / 'store'}"
    listed = cli("import", str(old), "list=true", store)
    assert listed.code == 0, listed.err
    assert (listed.json["imported"], listed.json["present"]) == (0, 0)
    ended = cli("import", str(old), store)
    assert ended.code == 0, ended.err
    assert (ended.json["imported"], ended.json["failed"]) == (1, 0)
    assert "'training.gradient_clip' is ignored" in " ".join(ended.json["warnings"])
    assert open_run(ended.json["run_dir"]).status.state == "finished"
    assert cli("import", str(old), store).json["present"] == 1
    assert cli("import", str(tmp_path / "store"), store).code == 2


def test_evaluate_accepts_an_old_folder(make_old_run: Old, cli: Cli, tmp_path: Path) -> None:
    old = make_old_run()
    for overrides in ([f"run={old}"], [f"paths.checkpoint_path={old / 'checkpoints' / 'final_model.pt'}"]):
        ended = cli("evaluate", *overrides, f"paths.outputs_root={tmp_path / 'store'}")
        assert ended.code == 0, ended.err
        assert Path(ended.json["run_dir"]).parent == tmp_path / "store" / "manual_budget"
        assert ended.json["test"]["test.csv"]["n"] == {"volumes": 24, "exams": 12, "patients": 12}


def test_two_old_runs_are_compared_with_the_differences_of_plain_forward_passes(
    make_old_run: Old, cli: Cli, tmp_path: Path, labels: list[str]
) -> None:
    olds = [make_old_run(f"manual_budget/run_s{seed}", seed=seed, epochs=epochs) for seed, epochs in ((1, 1), (2, 6))]
    refused = cli("compare", *map(str, olds))
    assert (refused.code, "import" in refused.json["error"]) == (2, True)
    store = f"paths.outputs_root={tmp_path / 'store'}"
    imported = {run["label"]: run["run_dir"] for run in cli("import", str(olds[0].parent), store).json["runs"]}
    folders = [imported[old.name] for old in olds]
    for folder in folders:
        assert cli("evaluate", f"run={folder}").code == 0
    ended = cli("compare", *folders)
    assert ended.code == 0, ended.err
    assert (ended.json["on"], ended.json["n"]) == ("test", {"volumes": 24, "exams": 12, "patients": 12})
    passes = [plain_forward(old, tmp_path / "project" / "data", "test.csv", labels) for old in olds]
    first, second = (metrics_by_finding(*pair) for pair in passes)
    deltas = {(row["metric"], row["label"]): row["delta"] for row in ended.json["differences"]}
    for metric in ("auprc", "auroc"):
        for c, label in enumerate(labels):
            assert deltas[metric, label] == pytest.approx(second[metric][c] - first[metric][c], abs=1e-6)
    assert any(abs(delta) > 0.01 for delta in deltas.values() if delta is not None)


def metrics_by_finding(targets: np.ndarray, probabilities: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "auprc": np.asarray(average_precision_score(targets, probabilities, average=None)),
        "auroc": np.asarray(roc_auc_score(targets, probabilities, average=None)),
    }
