"""Every verb from outside: its JSON, exit code, files and printed text."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import ctbench_core
from ctbench_core.cli.invocation import Outcome, Verb
from ctbench_core.cli.main import main
from ctbench_core.cli.verbs import VERBS
from ctbench_core.config import KEYS
from ctbench_core.runs import open_run

Cli = Callable[..., Any]
MakeOverrides = Callable[[Path], list[str]]

METRICS = {"auprc", "auroc", "f1_macro", "n", "leak", "undefined", "per_class"}
PER_CLASS = {"auprc", "auroc", "precision", "recall", "f1", "support", "prevalence"}


def edit(path: Path, change: Callable[[list[list[str]]], object]) -> None:
    """Change the rows of a CSV file in place."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    change(rows)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.fixture
def trained(cli: Cli, overrides: list[str]) -> Path:
    """Train a small run and return its directory."""
    ended = cli("train", *overrides)
    assert ended.code == 0, ended.err
    return Path(ended.json["run_dir"])


def test_train_prints_its_json_and_leaves_its_files(cli: Cli, overrides: list[str], tmp_path: Path) -> None:
    ended = cli("train", *overrides)
    result = ended.json
    assert ended.code == 0
    assert {"run_dir", "state", "best_epoch", "epochs", "best_val", "test", "seconds", "warnings"} <= set(result)
    assert (result["state"], result["epochs"], result["test"]) == ("finished", 3, {})
    assert set(result["best_val"]) == {"auprc", "auroc", "f1_macro"}
    assert set(result["seconds"]) == {"total", "load", "train", "evaluate"}
    assert 0 < result["seconds"]["train"] <= result["seconds"]["total"]
    run_dir = Path(result["run_dir"])
    assert run_dir.parent == tmp_path / "outputs" / "train"
    names = ["config.yaml", "status.json", "provenance.json", "metrics.jsonl", "best_metrics.json"]
    for name in (*names, "checkpoints/final_model.pt", "checkpoints/last_state.pt"):
        assert (run_dir / name).is_file(), name
    assert json.loads((run_dir.parent / "latest_run.json").read_text())["run_dir"] == str(run_dir)
    assert len((run_dir / "metrics.jsonl").read_text().splitlines()) == 3
    assert not list(run_dir.rglob("*.tmp"))
    assert "AUPRC" in ended.out
    assert str(run_dir) in ended.out


def test_provenance_lists_packages_seeds_and_manifests(trained: Path) -> None:
    content = json.loads((trained / "provenance.json").read_text())
    assert content["packages"]["torch"].startswith(torch.__version__.split("+")[0])
    assert content["seeds"] == {"utils.seed": 42}
    assert content["manifests"]["train"]["volumes"] == 60
    assert content["manifests"]["train"]["patients"] == 30
    assert len(content["manifests"]["train"]["sha256"]) == 64
    names = {"train.volumes", "train.labels", "val.volumes", "val.labels", "findings", "features.visual"}
    assert set(content["inputs"]) == names


def test_tests_can_be_evaluated_right_after_training(cli: Cli, overrides: list[str]) -> None:
    result = cli("train", *overrides, "evaluation.after_training=true").json
    assert list(result["test"]) == ["test.csv"]
    metrics = result["test"]["test.csv"]
    assert set(metrics) >= METRICS
    assert metrics["n"] == {"volumes": 24, "exams": 12, "patients": 12}
    assert metrics["leak"] == {"patients": 0}
    assert set(metrics["per_class"]) == {"Lung nodule", "Lung opacity", "Emphysema"}
    assert all(set(values) >= PER_CLASS for values in metrics["per_class"].values())
    assert result["seconds"]["evaluate"] > 0


def test_evaluate_writes_its_files_and_is_logged(cli: Cli, trained: Path, tmp_path: Path) -> None:
    ended = cli("evaluate", f"run={trained}")
    assert ended.code == 0, ended.err
    assert ended.json["run_dir"] == str(trained)
    assert set(ended.json["test"]["test.csv"]) >= METRICS
    bundle = trained / "evaluation" / "test"
    assert {path.name for path in bundle.iterdir()} == {
        "scores.parquet",
        "metrics.json",
        "per_class.csv",
        "curves.parquet",
        "counts.parquet",
        "bands.parquet",
        "reliability.parquet",
        "calibration.csv",
        "metadata.parquet",
        "net_benefit.parquet",
    }
    ledger = (tmp_path / "outputs" / "evaluations.jsonl").read_text().splitlines()
    assert [json.loads(line)["manifest"] for line in ledger] == ["test.csv"]


def test_scores_are_those_of_the_checkpoint(cli: Cli, trained: Path, tiny_data: Path, labels: list[str]) -> None:
    cli("evaluate", f"run={trained}")
    scores = pd.read_parquet(trained / "evaluation" / "test" / "scores.parquet")
    frame = pd.read_csv(tiny_data / "manifests" / "test.csv")
    assert scores["volumename"].tolist() == frame["volumename"].tolist()
    assert scores["patient"].tolist() == [name.rsplit("_", 2)[0] for name in frame["volumename"]]
    x = np.stack([np.load(tiny_data / "features" / path)["arr_0"][0] for path in frame["visual_feature_path"]])
    state = torch.load(trained / "checkpoints" / "final_model.pt", weights_only=True)
    hidden = torch.relu(torch.from_numpy(x) @ state["network.0.weight"].T + state["network.0.bias"])
    logits = (hidden @ state["network.3.weight"].T + state["network.3.bias"]).double().numpy()
    for c, label in enumerate(labels):
        assert scores[f"target_{label}"].tolist() == frame[label].tolist()
        np.testing.assert_allclose(scores[f"logit_{label}"], logits[:, c], atol=1e-5)
        probability = scores[f"prob_{label}"]
        assert probability.dtype == np.float64
        np.testing.assert_allclose(probability, 1 / (1 + np.exp(-scores[f"logit_{label}"].astype(float))), rtol=1e-12)


def test_an_old_checkpoint_is_evaluated(cli: Cli, trained: Path, tmp_path: Path) -> None:
    state = torch.load(trained / "checkpoints" / "final_model.pt", weights_only=True)
    first = cli("evaluate", f"run={trained}").json["test"]["test.csv"]["auprc"]
    torch.save({"epoch": 3, "model_state_dict": state}, tmp_path / "old.pt")
    again = cli("evaluate", f"run={trained}", f"paths.checkpoint_path={tmp_path / 'old.pt'}")
    assert again.json["test"]["test.csv"]["auprc"] == first


def test_a_checkpoint_of_another_width_says_both(cli: Cli, trained: Path, tmp_path: Path) -> None:
    torch.save({"network.0.weight": torch.zeros(3, 9), "network.0.bias": torch.zeros(3)}, tmp_path / "old.pt")
    ended = cli("evaluate", f"run={trained}", f"paths.checkpoint_path={tmp_path / 'old.pt'}")
    assert ended.code == 2
    assert "maps 9 features to 3 findings, but test.csv has 16 features" in ended.err


def test_evaluate_takes_other_tests_from_another_place(cli: Cli, trained: Path, data: Path) -> None:
    (data / "manifests" / "valid.csv").rename(data / "manifests" / "mine.csv")
    ended = cli(
        "evaluate", f"run={trained}", "data.test_manifests=[mine.csv]", f"paths.manifest_dir={data / 'manifests'}"
    )
    assert ended.code == 0, ended.err
    assert list(ended.json["test"]) == ["mine.csv"]
    assert open_run(trained).evaluations() == ["mine"]
    assert open_run(trained).config.data.test_manifests is None


def test_evaluate_of_what_is_no_run_is_refused(cli: Cli, tmp_path: Path) -> None:
    ended = cli("evaluate", f"run={tmp_path / 'nothing'}")
    assert (ended.code, ended.json["exit"]) == (2, 2)
    assert "is not a run directory" in ended.err
    assert cli("evaluate").code == 2


def test_shared_patients_mark_every_result(cli: Cli, make_overrides: MakeOverrides, data: Path) -> None:
    edit(data / "manifests" / "test.csv", lambda rows: rows[1].__setitem__(0, "train_3_z_1"))
    ended = cli("train", *make_overrides(data), "evaluation.after_training=true")
    assert ended.code == 0
    assert ended.json["test"]["test.csv"]["leak"] == {"patients": 1}
    again = cli("evaluate", f"run={ended.json['run_dir']}")
    assert again.json["test"]["test.csv"]["leak"] == {"patients": 1}
    assert any("train_3" in text for text in again.json["warnings"])
    assert "leak: 1 patient" in again.out
    refused = cli("evaluate", f"run={ended.json['run_dir']}", "data.on_leak=refuse")
    assert refused.code == 2
    assert "train_3" in refused.err


def test_labels_without_both_classes_are_null_with_a_reason(
    cli: Cli, make_overrides: MakeOverrides, data: Path
) -> None:
    def no_positives(rows: list[list[str]]) -> None:
        for row in rows[1:]:
            row[5] = "0"

    edit(data / "manifests" / "test.csv", no_positives)
    result = cli("train", *make_overrides(data), "evaluation.after_training=true").json["test"]["test.csv"]
    assert result["per_class"]["Emphysema"]["auroc"] is None
    assert result["per_class"]["Emphysema"]["auprc"] is None
    assert "positive" in result["undefined"]["Emphysema"]
    others = [result["per_class"][name]["auroc"] for name in ("Lung nodule", "Lung opacity")]
    assert result["auroc"] == pytest.approx(np.mean(others), abs=1e-12)


def test_dropped_rows_are_recorded(cli: Cli, make_overrides: MakeOverrides, data: Path) -> None:
    (data / "features" / "image" / "train_9_a.npz").unlink()
    ended = cli("train", *make_overrides(data), "data.on_bad_feature=drop")
    assert ended.code == 0
    assert any("train_9_a_1, train_9_a_2" in text for text in ended.json["warnings"])
    content = json.loads((Path(ended.json["run_dir"]) / "provenance.json").read_text())
    assert content["dropped"] == {"train": ["train_9_a_1", "train_9_a_2"]}
    assert content["manifests"]["train"]["volumes"] == 58


def test_check_reports_counts_prevalence_and_leaks_and_writes_nothing(
    cli: Cli, make_overrides: MakeOverrides, data: Path, tmp_path: Path
) -> None:
    edit(data / "manifests" / "test.csv", lambda rows: rows[1].__setitem__(0, "train_3_z_1"))
    ended = cli("check", *make_overrides(data))
    result = ended.json
    assert ended.code == 0
    assert {"ok", "errors", "warnings", "counts", "prevalence", "leaks"} <= set(result)
    assert (result["ok"], result["errors"]) == (True, [])
    assert result["counts"]["train"] == {"volumes": 60, "exams": 30, "patients": 30}
    assert set(result["counts"]) == {"train", "val", "test.csv"}
    frame = pd.read_csv(data / "manifests" / "train.csv")
    assert result["prevalence"]["train"]["Emphysema"] == pytest.approx(frame["Emphysema"].mean())
    assert result["leaks"] == [{"manifest": "test.csv", "patients": ["train_3"]}]
    assert not (tmp_path / "outputs").exists()


def test_check_lists_errors_and_exits_two(cli: Cli, make_overrides: MakeOverrides, data: Path, tmp_path: Path) -> None:
    (data / "features" / "image" / "train_9_a.npz").unlink()
    ended = cli("check", *make_overrides(data), "data.test_manifests=[none.csv]")
    assert ended.code == 2
    assert ended.json["ok"] is False
    assert len(ended.json["errors"]) == 2
    assert "none.csv" in ended.json["errors"][0]
    assert "train_9_a.npz" in ended.json["errors"][1]
    assert not (tmp_path / "outputs").exists()


def test_align_prints_recall_both_ways_with_chance(cli: Cli, overrides: list[str]) -> None:
    ended = cli("align", *overrides, "analysis.k=[1,5]")
    result = ended.json
    assert ended.code == 0, ended.err
    assert result["samples_analyzed"] == 60
    for prefix in ("", "semantic_"):
        for way in ("v_to_t", "t_to_v"):
            for name in (
                "recall_at_1",
                "recall_at_5",
                "mrr",
                "map",
                "ndcg_at_5",
                "median_rank",
                "chance_at_1",
                "tied_queries",
            ):
                assert f"{prefix}{way}_{name}" in result
    assert 0 < result["v_to_t_recall_at_1"] <= result["v_to_t_recall_at_5"] <= 1
    assert result["mean_paired_similarity"] > result["mean_unpaired_similarity"]
    assert set(result["seconds"]) == {"total", "load", "align"}
    assert result["peak_gib"] > 0


def test_align_takes_bare_arrays(cli: Cli, overrides: list[str], tmp_path: Path) -> None:
    vectors = np.eye(7, dtype=np.float32)
    np.savez(tmp_path / "a b=c.npz", image=vectors, text=vectors)
    ended = cli("align", *overrides, f"embeddings={tmp_path / 'a b=c.npz'}")
    assert ended.code == 0, ended.err
    assert ended.json["samples_analyzed"] == 7
    assert ended.json["v_to_t_recall_at_1"] == 1.0
    missing = cli("align", *overrides, f"embeddings={tmp_path / 'none.npz'}")
    assert missing.code == 2


def test_score_takes_a_bare_table(cli: Cli, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    target = draw.integers(0, 2, 80)
    frame = pd.DataFrame({"patient": np.arange(80) // 2, "target_a": target, "prob_a": (target + draw.random(80)) / 2})
    frame.to_csv(tmp_path / "table.csv", index=False)
    ended = cli("score", str(tmp_path / "table.csv"))
    assert ended.code == 0, ended.err
    assert set(ended.json) >= METRICS | {"auroc_ci", "auprc_ci"}
    assert ended.json["per_class"]["a"]["auroc"] == 1.0
    assert cli("score").code == 2


def test_demo_writes_its_data_set_where_it_says(cli: Cli) -> None:
    result = cli("demo").json
    assert {"data_root", "manifest_dir", "volumes"} <= set(result)
    assert Path(result["data_root"]).is_dir()
    assert (Path(result["manifest_dir"]) / "train.csv").is_file()
    assert cli("demo", "volumes=3").code == 2


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(cli: Cli, verb: str) -> None:
    ended = cli(verb, "--help")
    assert ended.code == 0
    assert f"ctbench_core {verb}" in ended.out
    assert "--json" in ended.out
    if verb == "train":
        assert all(name in ended.out for name in KEYS)


def test_the_command_alone_shows_the_next_steps_and_help_its_verbs(
    cli: Cli, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([]) == 0
    steps = capsys.readouterr().out.splitlines()
    assert [line.split()[3] for line in steps if line.startswith("  ")] == ["demo", "app", "check"]
    assert main(["--help"]) == 0
    overview = capsys.readouterr().out
    assert all(verb in overview for verb in VERBS)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"ctbench {ctbench_core.__version__}\n"
    assert main(["trian"]) == 2
    assert "Unknown verb 'trian'. Known: app, train" in capsys.readouterr().err


def test_an_encoding_without_the_minus_sign_escapes_it(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding="ascii"))
    monkeypatch.setitem(VERBS, "demo", Verb("", "", lambda call: Outcome({}, "−.031")))
    assert main(["demo"]) == 0
    assert printed.getvalue().strip() == rb"\u2212.031"


def test_the_tree_of_the_working_folder_is_used_and_reported(cli: Cli, overrides: list[str]) -> None:
    Path("configs").mkdir()
    Path("configs/config.yaml").write_text("training: {max_epochs: 2}\nstranger: 1\n")
    ended = cli("train", *[override for override in overrides if "max_epochs" not in override])
    assert ended.code == 0, ended.err
    assert ended.json["epochs"] == 2
    assert "Using the config tree" in ended.err
    assert any("stranger" in text for text in ended.json["warnings"])


def test_the_shown_command_repeats_the_run(cli: Cli, trained: Path) -> None:
    from ctbench_core.overrides import to_overrides

    first = open_run(trained)
    again = cli("train", *to_overrides(first.config))
    assert again.code == 0, again.err
    second = open_run(Path(again.json["run_dir"]))
    assert second.paths.metrics.read_bytes() == first.paths.metrics.read_bytes()
