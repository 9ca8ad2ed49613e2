"""Parameters of losses and heads are keys like any other, and every registered head is a choice of ``model=``."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from ctbench_core.cli.compose import compose_config
from ctbench_core.cli.study_verbs import split_grid, split_space
from ctbench_core.config import get_key
from ctbench_core.declared import HEADS
from ctbench_core.errors import ConfigError
from ctbench_core.studies import expand_grid, parse_search, parse_study

GAMMA = "training.loss.gamma"


def test_a_tree_and_an_override_set_a_parameter(tree: Path) -> None:
    config = tree / "config.yaml"
    text = config.read_text(encoding="utf-8").replace(
        "    _target_: torch.nn.BCEWithLogitsLoss", "    _target_: focal\n    gamma: 3"
    )
    config.write_text(text, encoding="utf-8")
    composed = compose_config([], config_dir=tree).config
    assert (composed.training.loss._target_, get_key(composed, GAMMA)) == ("focal", 3.0)
    assert get_key(compose_config([f"{GAMMA}=.5"], config_dir=tree).config, GAMMA) == 0.5
    with pytest.raises(ConfigError, match=r"training\.loss\.gamma is -1; it must be at least 0"):
        compose_config([f"{GAMMA}=-1"])


def test_a_parameter_is_an_axis_and_a_search_space() -> None:
    axes, rest = split_grid([f"{GAMMA}=1,2", "training.loss._target_=focal"])
    assert (axes, rest) == ({GAMMA: [1, 2]}, ["training.loss._target_=focal"])
    runs = expand_grid(parse_study({"name": "s", "base": {"training.loss._target_": "focal"}, "grid": axes}))
    assert [get_key(config, GAMMA) for _, config in runs.values()] == [1.0, 2.0]
    space, _ = split_space([f"{GAMMA}=interval(0,4)"])
    search = parse_search({"name": "s", "space": space})
    assert get_key(search.config({GAMMA: 2.5}), GAMMA) == 2.5


@pytest.mark.parametrize("axis", ["utils.device", "evaluation.detail", "logging.tags", "paths.outputs_root"])
def test_a_key_that_leaves_a_run_the_same_is_no_axis(axis: str) -> None:
    with pytest.raises(ConfigError, match=f"{axis} cannot be an axis: its values train the same run. It sets "):
        expand_grid(parse_study({"name": "s", "grid": {axis: ["a", "b"]}}))
    with pytest.raises(ConfigError, match="cannot be an axis"):
        parse_search({"name": "s", "space": {axis: ["a", "b"]}})


def test_a_registered_head_needs_no_file(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    added = dataclasses.replace(HEADS["linear"], name="narrow", aliases=("slim",))
    monkeypatch.setattr(HEADS, "_items", dict(HEADS))
    monkeypatch.setattr(HEADS, "_aliases", dict(HEADS._aliases))
    HEADS.add(added)
    for word in ("narrow", "slim"):
        for folder in (None, tree):
            model = compose_config([f"model={word}"], config_dir=folder).config.model
            assert (model._target_, model.model_name, model.params.hidden_dims) == ("narrow", "narrow", [])
        assert (
            next(parse_study({"name": "s", "grid": {"model": [word]}}).points()).changes["model._target_"] == "narrow"
        )
    (tree / "model" / "narrow.yaml").write_text("_target_: linear\nparams: {dropout: 0.7}\n", encoding="utf-8")
    model = compose_config(["model=narrow"], config_dir=tree).config.model
    assert (model._target_, model.params.dropout) == ("linear", 0.7)  # the user's own file comes first
