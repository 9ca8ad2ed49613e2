"""A stopped run of the older system resumes from its snapshot; one that cannot is refused, and never restarted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ctbench_core.errors import InputError
from ctbench_core.jobs import get_runner
from ctbench_core.legacy import import_runs
from ctbench_core.runs import RunPaths, open_run
from tests.old_system import MLP, drop_optimiser, read_split

Cli = Callable[..., Any]
Old = Callable[..., Path]
# One batch an epoch, no dropout, no weights: an epoch depends on no random draw.
WHOLE = ["training.batch_size=512", "model.params.dropout=0", "training.loss.pos_weight=none"]


def plain_epochs(old: Path, data: Path, labels: list[str], count: int) -> dict[str, torch.Tensor]:
    """Continue a snapshot in plain PyTorch, each epoch one batch of all rows; return the weights."""
    saved = torch.load(old / "checkpoints" / "last_state.pt", weights_only=False)
    model = MLP(saved["model"]["network.0.weight"].shape[1], [8], len(labels), 0.0)
    model.load_state_dict(saved["model"])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    optimizer.load_state_dict(saved["optimizer"])
    x, y = read_split(data, "train.csv", labels)
    for _ in range(count):
        loss = nn.functional.binary_cross_entropy_with_logits(model(x), torch.tensor(y).float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.state_dict()


def test_it_resumes_with_the_weights_moments_and_patience_of_its_snapshot(
    make_old_run: Old, cli: Cli, tmp_path: Path, labels: list[str]
) -> None:
    old = make_old_run(finished=False)
    before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    overrides = [f"training.resume.state_path={old / 'checkpoints' / 'last_state.pt'}", "training.max_epochs=6", *WHOLE]
    refused = cli("train", *overrides, f"paths.outputs_root={tmp_path / 'refused'}")
    assert refused.code == 2
    assert "training.batch_size" in refused.json["error"]
    overrides.append("training.resume.allow_changes=true")
    ended = cli("train", *overrides, f"paths.outputs_root={tmp_path / 'store'}")
    assert ended.code == 0, ended.err
    assert (ended.json["state"], ended.json["epochs"]) == ("finished", 6)
    run = open_run(ended.json["run_dir"])
    assert run.paths.root.parent == tmp_path / "store" / "manual_budget"
    assert [line["epoch"] for line in run.history()] == [1, 2, 3, 4, 5, 6]
    written = torch.load(run.paths.last_state, weights_only=True)["model"]
    expected = plain_epochs(old, tmp_path / "project" / "data", labels, 2)
    for name, tensor in expected.items():
        torch.testing.assert_close(written[name], tensor, atol=1e-5, rtol=1e-4)
    best = max(run.history(), key=lambda line: line["val_metrics"]["auprc"])
    assert run.best()["val_metrics"]["auprc"] == best["val_metrics"]["auprc"]
    assert {path: path.read_bytes() for path in old.rglob("*") if path.is_file()} == before


def test_the_overrides_of_the_older_system_find_the_stopped_run_of_the_job(make_old_run: Old, cli: Cli) -> None:
    old = make_old_run(finished=False)
    overrides = ["training.resume.enabled=true", "hydra.job.name=manual_budget", "training.max_epochs=5"]
    ended = cli("train", *overrides, f"paths.outputs_root={old.parents[1]}")
    assert ended.code == 0, ended.err
    assert ended.json["epochs"] == 5
    assert Path(ended.json["run_dir"]).parent == old.parent
    again = cli("train", *overrides, f"paths.outputs_root={old.parents[1]}")
    assert again.code == 2
    assert "is finished" in again.json["error"]


def test_one_without_its_optimiser_is_refused_with_what_to_do(make_old_run: Old, cli: Cli, tmp_path: Path) -> None:
    old = make_old_run(finished=False)
    drop_optimiser(old)
    (imported,) = import_runs(old, tmp_path / "store")
    for state in (old / "checkpoints" / "last_state.pt", RunPaths(imported.run_dir).last_state):
        ended = cli("train", f"training.resume.state_path={state}", f"paths.outputs_root={tmp_path / 'store'}")
        assert ended.code == 2
        assert "Clone on the Runs page" in ended.json["error"]
    with pytest.raises(InputError, match="would start over"):
        get_runner().resume(imported.run_dir)
    assert open_run(imported.run_dir).status.state == "cancelled"
