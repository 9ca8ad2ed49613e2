"""Where a study runs: the flags, the file in its folder, what is refused, and what is said without Dask."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ctbench_core.errors import ConfigError
from ctbench_core.executors import HERE, ClusterOptions, parse_options, read_options, write_options
from ctbench_core.executors.options import walltime_seconds


def test_flags_become_options() -> None:
    assert parse_options(None, None).is_here
    assert parse_options(0, None).is_here
    assert parse_options(4, None) == ClusterOptions(4)
    wanted = parse_options(None, "slurm", ["queue=gpu,walltime=1-04:00:00", "gres=gpu:a100:2"])
    assert wanted.requests == {"queue": "gpu", "walltime": "1-04:00:00", "gres": "gpu:a100:2"}
    assert wanted.workers == 1
    assert parse_options(None, "tls://login:8786").is_address


@pytest.mark.parametrize(
    ("workers", "cluster", "requests", "text"),
    [
        (-1, None, "", "--workers is -1"),
        (None, "moab", "", "slurm, pbs"),
        (None, "slurm", "walltme=1:00", "walltime"),
        (None, "slurm", "walltime=soon", "04:00:00"),
        (None, "slurm", "queue", "name=value"),
        (None, "slurm", "cores=none", "a whole number"),
        (None, "slurm", "queue=gpu\n#SBATCH --uid=0", "letters, digits"),
        (None, "slurm", "account=$(id)", "letters, digits"),
        (None, "tcp://host", "", "host:port"),
        (None, "tcp://user:pw@127.0.0.1:1", "", "host:port"),
    ],
)
def test_options_of_another_form_are_refused(
    workers: int | None, cluster: str | None, requests: str, text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        parse_options(workers, cluster, [requests] if requests else [])


@pytest.mark.parametrize("host", ["login", "10.0.0.7", "0.0.0.0", "[fe80::1]", "127.0.0.1.example.org"])
def test_an_open_scheduler_beyond_this_machine_needs_permission(host: str) -> None:
    address = f"tcp://{host}:8786"
    with pytest.raises(ConfigError, match="insecure=yes"):
        parse_options(None, address)
    with pytest.raises(ConfigError, match="insecure=yes"):
        parse_options(None, address, ["insecure=no"])
    assert parse_options(None, address, ["insecure=yes"]).is_address
    assert parse_options(None, f"tls://{host}:8786").is_address


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.8.0.1"])
def test_a_scheduler_of_this_machine_needs_none(host: str) -> None:
    assert parse_options(None, f"tcp://{host}:8786").is_address


def test_options_stay_in_the_folder_and_are_checked_again(tmp_path: Path) -> None:
    wanted = parse_options(3, "pbs", ["queue=long,mem=16GB"])
    write_options(tmp_path, wanted)
    assert read_options(tmp_path) == wanted
    (tmp_path / "cluster.yaml").write_text("cluster: tcp://login:8786\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="insecure=yes"):
        read_options(tmp_path)
    for text in ("workers: many\n", "jobs: 2\n", "[1\n", "with: [1]\n"):
        (tmp_path / "cluster.yaml").write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError, match=r"cluster\.yaml"):
            read_options(tmp_path)
    write_options(tmp_path, HERE)
    assert read_options(tmp_path) == HERE
    assert not list(tmp_path.iterdir())


def test_walltimes() -> None:
    assert [walltime_seconds(text) for text in ("04:00:00", "0:30", "1-00:00:30")] == [14_400, 1_800, 86_430]


def test_without_dask_one_line_says_what_to_install(
    cli: Any, overrides: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "distributed" else find(name, *more)
    )
    for verb in (["train", "-m", "utils.seed=1,2"], ["search", "trials=1"]):
        ended = cli(*verb, *overrides, "--workers", "2")
        assert ended.code == 2
        assert "--workers needs Dask: pip install 'ctbench[cluster]'" in ended.json["error"]
        assert "\n" not in ended.json["error"]
    assert (
        "--cluster needs Dask" in cli("train", "-m", "utils.seed=1,2", *overrides, "--cluster", "slurm").json["error"]
    )
    assert not (tmp_path / "outputs").exists()


def test_flags_that_contradict_each_other_are_refused(cli: Any, overrides: list[str]) -> None:
    assert "-m" in cli("train", *overrides, "--workers", "2").json["error"]
    assert (
        "--shard" in cli("train", "-m", "utils.seed=1,2", *overrides, "--shard", "1/2", "--workers", "0").json["error"]
    )
    assert "--with" in cli("train", "-m", "utils.seed=1,2", *overrides, "--with", "queue=gpu").json["error"]


def test_the_core_imports_no_dask() -> None:
    code = (
        "import sys, ctbench_core.cli.main, ctbench_core.studies, ctbench_core.jobs, ctbench_core.doctor, "
        "ctbench_core.executors, ctbench_core.bank_runs; "
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'dask', 'distributed', 'dask_jobqueue'}))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
