"""Dask workers of this machine: the same tables as one process, lost workers, stops, and who may connect."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from ctbench_core.errors import InputError, RunError
from ctbench_core.executors import HERE, ClusterOptions, Task, read_session, shards_on
from ctbench_core.features import gather, load_features
from ctbench_core.progress import Progress
from ctbench_core.runs import read_status
from ctbench_core.studies import (
    PAUSED,
    Study,
    StudyPaths,
    execution,
    parse_search,
    parse_study,
    request_state,
    run_search,
    run_study,
    search_execution,
)

pytest.importorskip("distributed", reason="pip install 'ctbench[cluster]'")
pytest.importorskip("cryptography")

WORKERS = ClusterOptions(2, requests={"threads": "1"})
pytestmark = pytest.mark.filterwarnings("ignore")  # of Dask's own threads, while it closes


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Start two workers once for all tests of this file."""
    from ctbench_core.executors.dask_executor import open_dask

    with open_dask(WORKERS, tmp_path_factory.mktemp("workers"), lambda *_: None) as executor:
        yield executor


@pytest.fixture
def on_workers(shared: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let studies and searches use the shared workers."""

    @contextlib.contextmanager
    def lend(options: ClusterOptions, folder: Path, **more: Any) -> Iterator[Any]:
        assert not options.is_here
        yield shared

    for room in (execution, search_execution):
        here = room.open_executor
        monkeypatch.setattr(
            room,
            "open_executor",
            lambda options, *a, here=here, **k: (here if options.is_here else lend)(options, *a, **k),
        )
    return shared


def test_another_scheduler_at_the_same_address_is_not_the_one_that_has_the_tasks(
    shared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client goes over to it by itself; it knows no task, and its workers have no slots, so a study would wait."""
    assert shared.next(0.01) is None
    monkeypatch.setattr(shared, "_scheduler", "that of before")
    with pytest.raises(RunError, match="is gone"):
        shared.next(0.01)


@pytest.fixture
def make_study(tiny_data: Path, tmp_path: Path) -> Callable[..., Study]:
    """Return a builder of studies of two banks, in a store of the given name."""

    def build(store: str, **base: Any) -> Study:
        places = {
            "paths.data_root": str(tiny_data / "features"),
            "paths.manifest_dir": str(tiny_data / "manifests"),
            "paths.outputs_root": str(tmp_path / store),
        }
        small = {"training.max_epochs": 3, "training.batch_size": 16, "model.params.hidden_dims": [8]}
        grid = {"utils.seed": [1, 2], "model": ["mlp_visual", "linear_probe"]}
        return parse_study({"name": "tiny", "base": {**places, **small, **base}, "grid": grid})

    return build


def _table(result: dict[str, Any]) -> str:
    return Path(result["table"]).read_text(encoding="utf-8")


def _long(epochs: int) -> dict[str, Any]:
    return {"training.max_epochs": epochs, "training.early_stopping_patience": epochs}


def pids_when(value: Path, *, stop: threading.Event, progress: Progress) -> int:
    """Write the process that runs this task, then wait for a file; the first process waits for its end."""
    with value.open("a", encoding="utf-8") as file:
        file.write(f"{os.getpid()}\n")
    while not stop.wait(0.05) and not value.with_suffix(".go").exists():
        pass
    return os.getpid()


def refuse(*, stop: threading.Event, progress: Progress) -> None:
    """Raise an error that a user can act on."""
    raise InputError("the file is at fault")


def _wait_for(condition: Callable[[], Any], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_study_on_workers_has_the_table_of_one_process(on_workers: Any, make_study: Callable[..., Study]) -> None:
    here = run_study(make_study("here"), options=HERE)
    there = run_study(make_study("there"), options=WORKERS)
    assert _table(there) == _table(here)
    assert (there["executor"], here["executor"]) == ({"kind": "dask", "workers": 2}, {"kind": "here", "workers": 1})
    assert (there["finished"], there["failed"], there["errors"]) == (4, 0, [])
    folder = Path(there["study_dir"])
    pids = {psutil.Process().pid, *(read_status(file).pid for file in folder.glob("*/status.json"))}
    assert len(pids) == 3  # this process, which trained none, and both workers
    assert run_study(folder)["reused"] == 4  # without flags, as its folder says
    threads = [json.loads(file.read_text(encoding="utf-8"))["threads"] for file in folder.glob("*/provenance.json")]
    assert threads == [1, 1, 1, 1]


def test_a_search_on_workers_has_the_trials_of_one_process(on_workers: Any, tiny_data: Path, tmp_path: Path) -> None:
    def run(store: str, options: ClusterOptions) -> tuple[dict[str, Any], Any]:
        places = {
            "paths.data_root": str(tiny_data / "features"),
            "paths.manifest_dir": str(tiny_data / "manifests"),
            "paths.outputs_root": str(tmp_path / store),
        }
        base = {**places, "training.max_epochs": 3, "training.batch_size": 16}
        space = {"depth": [0, 1], "width": [4, 8], "training.learning_rate": {"low": 1e-3, "high": 1e-1, "log": True}}
        search = parse_search({"name": "s", "base": base, "space": space, "trials": 6, "batch": 3})
        result = run_search(search, options=options, again=0)
        trials = search_execution.read_trials(StudyPaths(Path(result["study_dir"])))
        return result, [(trial.params, trial.state.name, trial.value, trial.intermediate_values) for trial in trials]

    here, there = run("here", HERE), run("there", WORKERS)
    assert there[1] == here[1]
    assert there[0]["best"]["params"] == here[0]["best"]["params"]


def test_a_task_whose_worker_is_killed_runs_again(shared: Any, tmp_path: Path) -> None:
    file = tmp_path / "pids.txt"
    shared.submit(Task("killed", pids_when, (file,)))
    _wait_for(file.exists)
    first = int(file.read_text().split()[0])
    os.kill(first, signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
    _wait_for(lambda: shared.next(0.1) is None and len(file.read_text().split()) == 2)
    file.with_suffix(".go").touch()
    ended = None
    while ended is None:
        ended = shared.next(1.0)
    assert ended.value != first
    assert shared.pending == 0


def test_an_error_that_a_user_can_act_on_comes_back_as_it_is(shared: Any) -> None:
    shared.submit(Task("wrong", refuse, ()))
    with pytest.raises(InputError, match="the file is at fault"):
        while shared.next(1.0) is None:
            pass


def test_a_pause_reaches_every_worker(on_workers: Any, make_study: Callable[..., Study]) -> None:
    study = make_study("paused", **_long(100_000))
    folder = execution.plan_study(study)
    pause = threading.Thread(target=_pause_once_both_train, args=(folder,))
    pause.start()
    result = run_study(folder.root, options=WORKERS)
    pause.join()
    assert (result["stopped"], result["finished"], result["failed"]) == (True, 0, 0)
    stored = [read_status(file) for file in folder.root.glob("*/status.json")]
    assert [status.state for status in stored] == 4 * ["cancelled"]  # by the workers themselves, before this returned
    assert len({status.pid for status in stored}) == 2
    session = read_session(on_workers._folder)
    assert session is not None
    assert {worker.host for worker in session.workers} == {stored[0].host}
    assert {worker.task for worker in session.workers} <= {"", "bank 1 of 2", "bank 2 of 2"}


def _pause_once_both_train(paths: StudyPaths) -> None:
    _wait_for(lambda: len(list(paths.root.glob("*/metrics.jsonl"))) == 4)
    request_state(paths, PAUSED)


def test_nothing_listens_beyond_this_machine_and_strangers_are_refused(shared: Any) -> None:
    from distributed import Client

    me = psutil.Process()
    processes = [me, *me.children(recursive=True)]
    addresses = [c.laddr for p in processes for c in p.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    assert len(addresses) >= 5  # scheduler, its pages, and the workers
    assert {address.ip for address in addresses} == {"127.0.0.1"}
    scheduler = shared._client.scheduler.address
    assert scheduler.startswith("tls://127.0.0.1:")
    for address in (scheduler, scheduler.replace("tls://", "tcp://")):
        with pytest.raises((OSError, TypeError, ValueError, RuntimeError)):
            # On a loop that runs: on a busy machine a new one may not start within the ten seconds that Dask waits.
            Client(address, timeout=0.5, loop=shared._client.loop)


def test_shards_of_a_packed_store_are_written_by_workers(
    shared: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gather, "SHARD_ROWS", 20)
    vectors = np.random.default_rng(0).standard_normal((70, 5)).astype(np.float32)
    ids = [f"case_{i}" for i in range(70)]
    for part in range(7):
        rows = slice(10 * part, 10 * part + 10)
        np.savez(tmp_path / f"{part}.npz", ids=ids[rows], features=vectors[rows])
    seen: list[int] = []

    def load(**more: Any) -> Any:
        paths = [f"{i // 10}.npz" for i in range(70)]
        return load_features(tmp_path, paths, ids=ids, cache=tmp_path / "cache", mode="always", **more)

    packed = load(run_shards=shards_on(shared), progress=lambda done, _: seen.append(done))
    np.testing.assert_array_equal(packed.matrix[packed.rows], vectors)
    assert len(seen) == 4  # one report a shard
    assert sorted(np.diff([0, *seen])) == [10, 20, 20, 20]
    assert load().files_read == 0
    content = bytearray((tmp_path / "3.npz").read_bytes())
    content[-600] ^= 255  # among the vectors
    (tmp_path / "3.npz").write_bytes(content)
    (damaged,) = load(run_shards=shards_on(shared)).problems
    assert (damaged.kind, damaged.path, damaged.samples) == ("unreadable", "3.npz", tuple(range(30, 40)))
    assert shared.pending == 0
