"""`study`, `search` and `train -m`: overrides and YAML to one study, its JSON and its exit codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ctbench_core.cli.study_verbs import split_grid, split_space
from ctbench_core.runs import open_run


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    path = tmp_path / "seeds.yaml"
    path.write_text(yaml.safe_dump({"name": "Two seeds", "grid": {"utils.seed": [1, 2]}}), encoding="utf-8")
    return path


def test_study_from_yaml_with_overrides_over_its_base(
    cli: Any, overrides: list[str], study_file: Path, tmp_path: Path
) -> None:
    ended = cli("study", str(study_file), *overrides, "training.max_epochs=2", "model=linear_probe")
    assert ended.code == 0, ended.err
    result = ended.json
    assert Path(result["study_dir"]) == tmp_path / "outputs" / "two-seeds"
    assert (result["runs"], result["finished"], result["reused"], result["failed"]) == (2, 2, 0, 0)
    assert result["seconds"]["total"] > 0
    cell = result["by_cell"][0]
    assert cell.keys() >= {"cell", "metric", "mean", "std", "n", "lo", "hi"}
    configs = [open_run(path).config for path in Path(result["study_dir"]).glob("linear-s*")]
    assert {config.utils.seed for config in configs} == {1, 2}
    assert {(config.training.max_epochs, config.model._target_) for config in configs} == {(2, "linear")}
    assert cli("study", result["study_dir"]).json["reused"] == 2


def test_train_m_builds_the_same_study(cli: Any, overrides: list[str]) -> None:
    ended = cli("train", "-m", *overrides, "utils.seed=1,2", "model=linear_probe,mlp_visual", "hydra.job.name=grid")
    assert ended.code == 0, ended.err
    assert ended.json["runs"] == 4
    assert [cell["cell"] for cell in ended.json["by_cell"] if cell["metric"] == "auprc"] == [
        {"model": "linear_probe"},
        {"model": "mlp_visual"},
    ]
    assert (
        cli("train", "-m", *overrides, "utils.seed=1,2", "model=linear_probe,mlp_visual", "job_name=grid").json[
            "reused"
        ]
        == 4
    )


def test_train_m_without_a_name_goes_on_with_the_same_words(cli: Any, overrides: list[str]) -> None:
    first = cli("train", *overrides, "--multirun", "utils.seed=1,2", "training.max_epochs=1")
    again = cli("train", *overrides, "--multirun", "utils.seed=1,2,3", "training.max_epochs=1")
    other = cli("train", *overrides, "--multirun", "utils.seed=1,2", "training.max_epochs=2", "--dry-run")
    assert again.json["study_dir"] == first.json["study_dir"]
    assert (again.json["runs"], again.json["reused"]) == (3, 2)
    assert other.json["runs"] == 2


def test_overrides_are_split_into_axes_and_the_rest() -> None:
    axes, rest = split_grid(
        [
            "utils.seed=1,2",
            "training.learning_rate=1e-3",
            "budget=50,all",
            "encoder=a/x,b/y",
            "source=m,n",
            "training.target_labels=[A b,C]",
            "model.params.hidden_dims=[8],[8,4]",
            "paths.cache_dir=c",
        ]
    )
    assert axes == {
        "utils.seed": [1, 2],
        "budget": [50, "all"],
        "encoder": ["a/x", "b/y"],
        "source": ["m", "n"],
        "model.params.hidden_dims": [[8], [8, 4]],
    }
    assert rest == ["training.learning_rate=1e-3", "training.target_labels=[A b,C]", "paths.cache_dir=c"]


def test_search_takes_ranges_as_its_space(cli: Any, overrides: list[str], tmp_path: Path) -> None:
    arguments = [
        *overrides,
        "trials=3",
        "name=Mine",
        "training.learning_rate=tag(log,interval(1e-3,1e-1))",
        "depth=0,1",
    ]
    ended = cli("search", *arguments)
    assert ended.code == 0, ended.err
    result = ended.json
    assert Path(result["study_dir"]) == tmp_path / "outputs" / "mine"
    assert (result["trials"], set(result["best"]["params"])) == (3, {"training.learning_rate", "depth"})
    assert not open_run(result["best"]["run_dir"]).evaluations()
    longer = cli("search", *arguments, "trials=4").json
    assert longer["trials"] == 4
    assert cli("search", result["study_dir"]).json["best"] == longer["best"]


def test_spaces_are_written_as_sweeps() -> None:
    space, rest = split_space(
        [
            "training.learning_rate=tag(log,interval(1e-4,1e-2))",
            "model.params.dropout=interval(0,0.5)",
            "width=8,16",
            "depth=range(0,3)",
            "training.batch_size=32",
            "paths.data_root=a,b",
        ]
    )
    assert space == {
        "training.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
        "model.params.dropout": {"low": 0, "high": 0.5},
        "width": [8, 16],
        "depth": [0, 1, 2],
    }
    assert rest == ["training.batch_size=32", "paths.data_root=a,b"]


def test_dry_run_and_sbatch_train_nothing(cli: Any, overrides: list[str], study_file: Path, tmp_path: Path) -> None:
    ended = cli("study", str(study_file), *overrides, "--dry-run")
    assert ended.json == {"runs": 2, "axes": {"seed": ["1", "2"]}}
    assert not (tmp_path / "outputs").exists()
    planned = cli("study", str(study_file), *overrides, "--sbatch", "4").json
    script = Path(planned["sbatch"]).read_text()
    assert "#SBATCH --array=1-4" in script
    assert f"study {Path(planned['study_dir']).resolve()} --shard ${{SLURM_ARRAY_TASK_ID:-1}}/4" in script
    assert not list(Path(planned["study_dir"]).glob("*/status.json"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["study"], "takes one YAML file"),
        (["study", "absent.yaml"], "absent.yaml"),
        (["train", "-m", "utils.seed=1"], "needs a comma list"),
        (["train", "-m", "utils.sede=1,2"], "utils.seed"),
        (["study", "."], "no planned study"),
        (["search", "training.learning_rate=0.1", "nonsense=1"], "nonsense"),
        (["search", "absent.yaml"], "absent.yaml"),
    ],
)
def test_bad_input_ends_with_2(cli: Any, arguments: list[str], message: str) -> None:
    ended = cli(*arguments)
    assert ended.code == 2
    assert message in ended.err
