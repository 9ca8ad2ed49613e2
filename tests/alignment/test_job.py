from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ctbench_core.alignment import job, queue_alignment, run_alignment
from ctbench_core.config import Config
from ctbench_core.errors import InputError, Interrupted
from ctbench_core.jobs import JobRunner
from ctbench_core.runs import open_run, read_json, read_status, request_stop

Make = Callable[..., Config]


@pytest.fixture
def config(data: Path, make_config: Make, tmp_path: Path) -> Config:
    store = str(tmp_path / "outputs")
    return make_config(data, {"paths.outputs_root": store, "data.train_manifest": "test.csv", "job_name": "align"})


def test_a_queued_alignment_is_measured_into_its_own_directory(config: Config) -> None:
    folder = queue_alignment(config)
    waiting = read_status(folder / "status.json")
    assert (waiting.state, waiting.kind, waiting.epoch) == ("queued", "align", 0)
    result = run_alignment(config, run_dir=folder)
    status = read_status(folder / "status.json")
    assert (status.state, status.epoch, status.max_epochs) == ("finished", 100, 100)
    assert result["run_dir"] == str(folder)
    assert status.seconds == result["seconds"]
    assert open_run(folder).alignments() == ["test"]
    stored = read_json(folder / "alignment" / "test" / "metrics.json")
    assert stored["n"] == {"volumes": 24, "exams": 12, "patients": 12}
    assert stored["warnings"] == result["warnings"]


def test_the_same_metrics_with_and_without_a_queue(config: Config) -> None:
    varying = {"seconds", "peak_gib", "run_dir"}
    first, second = run_alignment(config), run_alignment(config, run_dir=queue_alignment(config))
    assert {k: str(v) for k, v in first.items() if k not in varying} == {
        k: str(v) for k, v in second.items() if k not in varying
    }


def test_progress_rises_to_the_end(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    config.analysis.within = True
    seen: list[int] = []
    monkeypatch.setattr(job.Recorder, "epoch", lambda self, epoch, best_epoch=None: seen.append(epoch))
    run_alignment(config, run_dir=queue_alignment(config))
    assert seen == sorted(seen)
    assert seen[-1] == 100


@pytest.mark.parametrize("from_another_process", [False, True])
def test_stop_ends_it_and_keeps_nothing(config: Config, from_another_process: bool) -> None:
    folder, cancel = queue_alignment(config), threading.Event()
    if from_another_process:
        request_stop(folder)
    else:
        cancel.set()
    with pytest.raises(Interrupted, match="stopped"):
        run_alignment(config, run_dir=folder, cancel=cancel)
    assert read_status(folder / "status.json").state == "cancelled"
    assert not list(folder.glob("alignment/*"))


def test_an_error_is_written_into_the_status(config: Config, data: Path) -> None:
    folder = queue_alignment(config)
    for file in (data / "features").rglob("*.npz"):
        file.write_bytes(b"no vector")
    with pytest.raises(InputError):
        run_alignment(config, run_dir=folder)
    status = read_status(folder / "status.json")
    assert status.state == "failed"
    assert "npz" in (status.error or "")


def test_a_bad_manifest_leaves_nothing_behind(config: Config, tmp_path: Path) -> None:
    config.data.columns.text_feature = "note_path"
    with pytest.raises(InputError, match="note_path"):
        queue_alignment(config)
    assert not list((tmp_path / "outputs").glob("align/*"))


def test_an_alignment_is_not_resumed_as_a_training(config: Config) -> None:
    folder, cancel = queue_alignment(config), threading.Event()
    cancel.set()
    with pytest.raises(Interrupted):
        run_alignment(config, run_dir=folder, cancel=cancel)
    with pytest.raises(InputError, match=r"is not a training run.*not resumed"):
        JobRunner().resume(folder)
