"""Old config trees and overrides compose to one config as in Hydra, and every key of ours can be set."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from ctbench_core.cli.compose import Composed, compose_config
from ctbench_core.config import Config
from ctbench_core.errors import ConfigError


def change(tree: Path, old: str, new: str) -> None:
    path = tree / "config.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


@pytest.fixture
def compose(tree: Path) -> Callable[..., Composed]:
    """Return a composer over the old tree."""
    return lambda *overrides, **options: compose_config(overrides, config_dir=tree, **options)


def test_the_old_tree_composes_unedited(compose: Callable[..., Composed]) -> None:
    composed = compose()
    config = composed.config
    assert config.paths.data_root == "data/features/image"
    assert config.training.batch_size == 16
    assert config.training.learning_rate == 1e-3
    assert config.training.target_labels == ["Lung nodule", "Emphysema"]
    assert config.model._target_ == "src.classification.models.mlp.MLP"
    assert config.model.params.hidden_dims == [8]
    assert config.utils.seed == 7
    assert config.data.test_manifests == ["test.csv"]
    assert config.job_name == "train"


def test_what_the_tree_leaves_out_keeps_our_default(compose: Callable[..., Composed]) -> None:
    config, plain = compose().config, Config()
    assert config.training.optimizer == plain.training.optimizer
    assert config.data.cohort == plain.data.cohort
    assert config.paths.outputs_root == plain.paths.outputs_root


def test_keys_that_are_none_of_ours_warn_once_and_are_named(compose: Callable[..., Composed]) -> None:
    named = [re.findall(r"'([^']+)'", text)[0] for text in compose().warnings]
    assert sorted(named) == ["logging.wandb_mode", "model.params.out_features", "training.gradient_clip"]


def test_interpolations_agree_on_one_run_directory(compose: Callable[..., Composed]) -> None:
    paths = compose().config.paths
    assert re.fullmatch(r"outputs/train/\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", paths.output_dir or "")
    assert paths.run_dir == paths.output_dir
    assert paths.checkpoint_dir == f"{paths.run_dir}/checkpoints"
    assert paths.job_base_dir == "outputs/train"
    assert paths.latest_run_pointer == "outputs/train/latest_run.txt"


@pytest.mark.parametrize("override", ["hydra.job.name=ablation", "job_name=ablation", "job_name='ablation'"])
def test_an_override_names_the_job(compose: Callable[..., Composed], override: str) -> None:
    config = compose(override).config
    assert config.job_name == "ablation"
    assert (config.paths.run_dir or "").startswith("outputs/ablation/")
    assert config.paths.job_base_dir == "outputs/ablation"


def test_the_tree_names_the_job(tree: Path, compose: Callable[..., Composed]) -> None:
    change(tree, "    chdir: false", "    chdir: false\n    name: from_tree")
    assert compose().config.job_name == "from_tree"
    assert compose("job_name=mine").config.job_name == "mine"


@pytest.mark.parametrize("override", ["hydra.run.dir=/runs/a b,c", "hydra.run.dir='/runs/a b,c'"])
def test_an_override_names_the_run_directory(compose: Callable[..., Composed], override: str) -> None:
    paths = compose(override).config.paths
    assert paths.run_dir == "/runs/a b,c"
    assert paths.checkpoint_dir == "/runs/a b,c/checkpoints"


def test_our_own_run_dir_wins_over_the_tree(compose: Callable[..., Composed]) -> None:
    assert compose("paths.run_dir=/runs/mine").config.paths.run_dir == "/runs/mine"


def test_a_tree_without_hydra_run_dir_leaves_the_place_to_us(tree: Path, compose: Callable[..., Composed]) -> None:
    change(tree, "  run:\n    dir: outputs/${hydra:job.name}/${now:%Y-%m-%d_%H-%M-%S}\n", "")
    change(tree, "  output_dir: ${hydra:run.dir}\n  checkpoint_dir: ${paths.output_dir}/checkpoints\n", "")
    paths = compose().config.paths
    assert (paths.run_dir, paths.output_dir, paths.checkpoint_dir) == (None, None, None)


def test_groups_are_chosen_by_overrides_from_the_tree_and_from_ours(compose: Callable[..., Composed]) -> None:
    other = compose("data=other").config
    assert other.data.train_manifest == "other.csv"
    assert other.data.val_manifest == "valid.csv"
    assert other.training.target_labels == ["Lung opacity"]
    linear = compose("model=linear_probe").config
    assert linear.model._target_ == "linear"
    assert linear.model.params.hidden_dims == []
    assert linear.training.batch_size == 16


def test_overrides_lie_over_the_tree_before_it_is_resolved(compose: Callable[..., Composed]) -> None:
    config = compose("data.columns.labels=[Lung opacity]", "training.max_epochs=9").config
    assert config.training.target_labels == ["Lung opacity"]
    assert config.training.max_epochs == 9
    assert compose("training.target_labels=[X]").config.data.columns.labels == ["Lung nodule", "Emphysema"]


def test_keys_of_ours_that_the_tree_does_not_know_can_be_set(compose: Callable[..., Composed]) -> None:
    overrides = ["data.standardise=zscore", "training.optimizer=sgd", "+utils.seed=3", "++training.warmup_epochs=2"]
    config = compose(*overrides).config
    assert (config.data.standardise, config.training.optimizer) == ("zscore", "sgd")
    assert (config.utils.seed, config.training.warmup_epochs) == (3, 2)


def test_keys_that_only_the_tree_knows_can_be_set_and_deleted(compose: Callable[..., Composed]) -> None:
    assert "training.gradient_clip" in " ".join(compose("training.gradient_clip=2.0").warnings)
    assert "training.gradient_clip" not in " ".join(compose("~training.gradient_clip").warnings)


def test_an_unknown_override_is_an_error_over_a_tree_too(compose: Callable[..., Composed]) -> None:
    with pytest.raises(ConfigError, match=r"Unknown key 'training.lerning_rate'.*training.learning_rate"):
        compose("training.lerning_rate=1")


def test_a_value_of_the_tree_that_does_not_fit_is_an_error(tree: Path, compose: Callable[..., Composed]) -> None:
    change(tree, "batch_size: 16", "batch_size: lots")
    with pytest.raises(ConfigError, match=r"training.batch_size is 'lots'"):
        compose()
    assert compose("training.batch_size=4").config.training.batch_size == 4


def test_an_open_value_asks_for_an_override(tree: Path, compose: Callable[..., Composed]) -> None:
    change(tree, "data_root: data/features/image", "data_root: ???")
    with pytest.raises(ConfigError, match=r"leaves paths.data_root open \(\?\?\?\)"):
        compose()
    assert compose("paths.data_root=x").config.paths.data_root == "x"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed: 7", "seed: ${nowhere.to.be.found}", "nowhere"),
        ("seed: 7", "seed: [7", "cannot be composed"),
        ("model: mlp_visual", "model: gone", "gone"),
        ("seed: 7", f"seed: {'[' * 400}{']' * 400}", "nested deeper than 100 levels"),
        ("seed: 7", "seed: &a [*a]", "aliases expand"),
        (
            "seed: 7",
            "seed: [" + ", ".join(f"&a{k} [{', '.join([f'*a{k - 1}' if k else 'x'] * 9)}]" for k in range(9)) + "]",
            "aliases expand",
        ),
    ],
)
def test_a_broken_tree_is_one_message(
    tree: Path, compose: Callable[..., Composed], old: str, new: str, message: str
) -> None:
    change(tree, old, new)
    with pytest.raises(ConfigError, match=message) as caught:
        compose()
    assert "\n" not in str(caught.value)


def test_a_primary_file_that_is_a_pipe_is_not_passed_over(tree: Path, compose: Callable[..., Composed]) -> None:
    (tree / "config.yaml").unlink()
    os.mkfifo(tree / "config.yaml")
    with pytest.raises(ConfigError, match="is a pipe or device"):
        compose()


def test_a_missing_tree_or_file_is_named(tree: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere does not exist"):
        compose_config([], config_dir=tree / "nowhere")
    for section, message in {
        "true": "training is True; expected keys below it",
        "${x}": "Interpolation key 'x'",
    }.items():
        (tree / "config.yaml").write_text(f"training: {section}\n")
        with pytest.raises(ConfigError, match=message):
            compose_config(["training.max_epochs=1"], config_dir=tree)
    with pytest.raises(ConfigError, match="nonsense"):
        compose_config([], config_dir=tree, config_name="nonsense")


def test_another_primary_file_may_be_named(tree: Path) -> None:
    (tree / "small.yaml").write_text("defaults: [config, _self_]\ntraining: {max_epochs: 1}\n")
    for name in ("small", "small.yaml"):
        composed = compose_config([], config_dir=tree, config_name=name)
        assert composed.config.training.max_epochs == 1
        assert composed.config.training.batch_size == 16


def test_a_tree_runs_no_code(tree: Path, compose: Callable[..., Composed], tmp_path: Path) -> None:
    proof = tmp_path / "code-ran"
    change(tree, "seed: 7", f"seed: !!python/object/apply:pathlib.Path.touch ['{proof}']")
    with pytest.raises(ConfigError):
        compose()
    assert not proof.exists()


def test_a_stored_config_repeats_its_run(tmp_path: Path, make_config: Callable[..., Config]) -> None:
    config = make_config(tmp_path, {"job_name": "mine", "training.target_labels": ["Lung nodule"], "utils.seed": 3})
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config.to_dict()))
    composed = compose_config([], config_dir=tmp_path)
    assert composed.config == config
    assert composed.warnings == []


def test_the_overrides_of_a_verb_are_kept_apart() -> None:
    overrides = ["run=/runs/a=b, c", "embeddings='x y.npz'", "name=mine", "training.batch_size=3"]
    composed = compose_config(overrides, extras=("run", "embeddings", "name"))
    assert composed.extras == {"run": "/runs/a=b, c", "embeddings": "x y.npz", "name": "mine"}
    assert composed.overrides == {"training.batch_size": 3}
    with pytest.raises(ConfigError, match="Unknown key 'run'"):
        compose_config(overrides)
