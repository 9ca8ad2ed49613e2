"""Checkpoints: plain tensors in, plain tensors out, and one message for whatever else a file holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ctbench_core.errors import CheckpointError
from ctbench_core.train import checkpoint

STATE = {"network.0.weight": torch.arange(6.0).view(2, 3), "network.0.bias": torch.ones(2)}


def test_save_and_load(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "folder" / "a.pt", STATE)
    loaded = checkpoint.load(tmp_path / "folder" / "a.pt")
    assert all(torch.equal(loaded[name], tensor) for name, tensor in STATE.items())
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["a.pt"]


@pytest.mark.parametrize("wrap", [None, "best_model_state", "state_dict", "model_state_dict", "model"])
def test_weights_are_found_in_a_snapshot_too(tmp_path: Path, wrap: str | None) -> None:
    content: dict[str, Any] = STATE if wrap is None else {"epoch": 3, wrap: STATE}
    torch.save(content, tmp_path / "a.pt")
    assert list(checkpoint.load_model_state(tmp_path / "a.pt")) == list(STATE)


def test_the_best_weights_win_over_the_last(tmp_path: Path) -> None:
    best = {name: tensor + 1 for name, tensor in STATE.items()}
    torch.save({"model": STATE, "best_model_state": best}, tmp_path / "a.pt")
    assert torch.equal(checkpoint.load_model_state(tmp_path / "a.pt")["network.0.bias"], best["network.0.bias"])


class Trap:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return Path.touch, (self.target,)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    torch.save({**STATE, "hook": Trap(tmp_path / "code-ran")}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"a.pt is damaged or holds objects that could run code"):
        checkpoint.load(tmp_path / "a.pt")
    assert not (tmp_path / "code-ran").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a checkpoint", bytes(500)])
def test_damage_names_the_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a\.pt"):
        checkpoint.load(tmp_path / "a.pt")


def test_a_truncated_checkpoint_names_the_file(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "whole.pt", STATE)
    whole = (tmp_path / "whole.pt").read_bytes()
    for cut in range(0, len(whole), max(1, len(whole) // 40)):
        (tmp_path / "cut.pt").write_bytes(whole[:cut])
        with pytest.raises(CheckpointError, match=r"cut\.pt"):
            checkpoint.load(tmp_path / "cut.pt")


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {}, {"network.0.weight": "x"}])
def test_what_is_no_state_dict_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="state_dict"):
        checkpoint.load_model_state(tmp_path / "a.pt")


def test_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"a.pt does not exist. Train the run first, or set paths.checkpoint_path"
    ):
        checkpoint.load(tmp_path / "a.pt")


def test_widths_are_read_from_the_layers_in_their_order() -> None:
    state = {
        f"network.{i}.weight": torch.zeros(out, inner) for i, (inner, out) in {9: (4, 2), 0: (7, 5), 3: (5, 4)}.items()
    }
    assert checkpoint.widths_of(state) == [7, 5, 4, 2]
    assert checkpoint.widths_of(
        {f"module.network.{i}.weight": t for i, t in ((12, torch.zeros(1, 2)), (3, torch.zeros(2, 3)))}
    ) == [3, 2, 1]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"bias": torch.zeros(3)}, "no chain of linear layers"),
        ({"conv.weight": torch.zeros(3, 3, 3)}, "no chain of linear layers"),
        (
            {"a.0.weight": torch.zeros(5, 7), "a.3.weight": torch.zeros(2, 4)},
            r"do not fit each other: \[\(5, 7\), \(2, 4\)\]",
        ),
    ],
)
def test_layers_that_form_no_chain_are_refused(state: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        checkpoint.widths_of(state)
