"""The work of every verb on one small run store: its command, its results, and what lists and pages read of the store.

`benchmarks.kills` and `benchmarks.full_disk` stop this work and start it again. Work runs in forks of a process that
has imported the program, so that a start takes milliseconds.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import json
import math
import os
import re
import shutil
import signal
import sys
import traceback
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml

from ctbench_core.cli.main import main as run_verb
from ctbench_core.config import Config
from ctbench_core.demo import write_demo
from ctbench_core.errors import CtbenchError
from ctbench_core.features.pack import open_pack
from ctbench_core.runs import Ledger, RunPaths, RunStore, active_runs, annotate, damaged_in, run_folders
from ctbench_core.studies import StudyPaths, read_plan, studies_in, study_status
from ctbench_core.studies.search_execution import read_trials
from ctbench_core.studies.trials import trial_row
from ctbench_core.train import loop
from ctbench_ui.data.data_form import store_upload
from tests.old_system import train_old_run

EPOCHS = 15
_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")  # of a run or a pack
LABELS = ["Cardiomegaly", "Emphysema", "Lung nodule"]
# What equal results may differ in: times, places, processes, and how often a test set was opened.
_DIFFERS = {
    *(
        "seconds",
        "created",
        "updated",
        "heartbeat",
        "started",
        "started_epoch",
        "when",
        "imported",
        "host",
        "pid",
        "process_started",
        "process_token",
    ),
    *("openings", "opening", "test_openings", "run_dir", "run_id", "run", "peak_gib", "study_dir"),
}

Around = Callable[[Callable[[], int]], int]


def memory_folder() -> Path | None:
    """Return a folder in memory, where the system has one: flushing to a disk would take most of the time."""
    folder = Path("/dev/shm")
    return folder if folder.is_dir() else None


FORK_LIMIT_S = 600


def fork(work: Callable[[], int], log: Path) -> int:
    """Start work in a fork whose output is appended to a file, and return its process id; a bug is exit code 70."""
    sys.stdout.flush()
    if pid := os.fork():
        return pid
    signal.alarm(FORK_LIMIT_S)  # one that hangs ends
    code = 70
    try:
        stream = log.open("a", buffering=1)
        sys.stdout = sys.stderr = stream
        os.dup2(stream.fileno(), 1), os.dup2(stream.fileno(), 2)
        code = work()
    except BaseException:  # noqa: BLE001  a fork must not return into its parent's stack
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait(pid: int) -> int:
    """Wait for a fork and return its exit code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def ask(function: Callable[[], Any], folder: Path) -> Any:
    """Return what a function gives in a fork, so that this process keeps no caches and threads."""
    answer, log = folder / "answer.json", folder / "answer.log"
    log.unlink(missing_ok=True)
    if wait(fork(lambda: answer.write_text(json.dumps(function())) * 0, log)):
        raise RuntimeError(log.read_text())
    return json.loads(answer.read_text())


@dataclass(frozen=True)
class Work:
    """The work of one verb, on a working folder.

    Attributes:
        arguments: of the command line, for the first start or a later one.
        results: the files that must be equal however often the work was stopped.
        own: beginnings of the paths, below the working folder, that the work may change.
    """

    arguments: Callable[[Path], list[str]]
    results: Callable[[Path], list[Path]]
    own: tuple[str, ...]


def _train(work: Path) -> list[str]:
    run = work / "outputs/train/new"
    resume = ["training.resume.enabled=true"] if (run / "status.json").is_file() else []
    return [f"paths.run_dir={run}", f"training.max_epochs={EPOCHS}", "training.early_stopping_patience=1000",
            "evaluation.after_training=true", "data.standardise=zscore", "training.scheduler=cosine", *resume]  # fmt: skip


def _run_files(run: Path) -> list[Path]:
    paths, parts = RunPaths(run), ("evaluation", "validation")
    files = [paths.final_model, paths.last_state, paths.metrics, paths.best_metrics, paths.config, paths.status]
    return [*files, *(path for part in parts for path in _files(run / part))]


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]


def _study_files(study: Path) -> list[Path]:
    """Return the tables, which have six decimals: the last bits of a run depend on the runs of its stack."""
    return [path for name in ("table.csv", "by_cell.csv", "journal.log") if (path := study / name).is_file()]


def _newest(work: Path, kind: str) -> list[Path]:
    """Return the results of the newest finished run of a kind: a stopped one without a folder of its own begins again."""
    runs = [run for run in RunStore(work / "outputs").runs(kind=kind) if run.status.state == "finished"]
    return [file for run in runs[:1] for part in ("alignment", "evaluation") for file in _files(run.paths.root / part)]


def _packs(work: Path) -> list[Path]:
    return [pack.path for folder in sorted((work / "cache").iterdir()) if (pack := open_pack(folder)) and pack.path]


_LEDGER = "outputs/evaluations.jsonl"
WORKS = {
    "train": Work(_train, lambda w: _run_files(w / "outputs/train/new"), ("outputs/train/new/",)),
    "evaluate": Work(
        lambda w: [f"run={w}/outputs/train/run1", "data.test_manifests=[test.csv]"],
        lambda w: _run_files(w / "outputs/train/run1"),
        ("outputs/train/run1/evaluation/", "outputs/train/run1/validation/"),
    ),
    "study": Work(lambda w: [str(w.parent / "study.yaml")], lambda w: _study_files(w / "outputs/kills"), ("outputs/kills/",)),
    "search": Work(
        lambda w: [str(w.parent / "search.yaml"), "again=1"],
        lambda w: [file for study in sorted((w / "outputs").glob("look*")) for file in _study_files(study)],
        ("outputs/look",),
    ),
    "pack": Work(lambda w: ["data.columns.text_feature=text_feature_path"], _packs, ("cache/",)),
    "export": Work(
        lambda w: [f"{w}/outputs/train/run1"], lambda w: [w / "outputs/train/run1.zip"], ("outputs/train/run1.zip",)
    ),
    "score": Work(
        lambda w: [str(w.parent / "predictions.csv"), "name=table"],
        lambda w: _newest(w, "score"),
        ("outputs/score/",),
    ),
    "align": Work(lambda w: ["analysis.k=[1,5]"], lambda w: _newest(w, "align"), ("outputs/align/",)),
    "import": Work(
        lambda w: [str(w.parent / "old")], lambda w: _files(w / "outputs/manual_budget"), ("outputs/manual_budget/",)
    ),
    "compare": Work(
        lambda w: [f"{w}/outputs/train/run1", f"{w}/outputs/train/run2", f"paper={w}/paper"],
        lambda w: _files(w / "paper"),
        ("paper/",),
    ),
}  # fmt: skip


def _annotate(work: Path) -> None:
    annotate(work / "outputs/train/run1", tags=["kept"], notes="A note. " * 2000)


def _upload(work: Path) -> None:
    files = [(f"{name}.csv", (work.parent / "manifests" / f"{name}.csv").read_bytes()) for name in ("train", "valid")]
    config = Config()
    config.data.columns.labels = LABELS
    store_upload(work / "outputs", files, config)


# What pages do without a verb: they show the text of an error of the program.
PAGES = {
    "annotate": (
        _annotate,
        Work(
            lambda w: [],
            lambda w: [w / "outputs/train/run1/annotations.json"],
            ("outputs/train/run1/annotations.json",),
        ),
    ),
    "upload": (_upload, Work(lambda w: [], lambda w: _files(w / "outputs/.uploads"), ("outputs/.uploads/",))),
}
_WITHOUT_KEYS = ("export", "compare", "study", "search")
_BASE_KEYS = {"training.max_epochs": 3, "training.early_stopping_patience": 1000}


def _on_page(action: Callable[[Path], None], work: Path) -> int:
    try:
        action(work)
    except CtbenchError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


class Ground:
    """A folder with data and a store of two evaluated runs; work is done in a copy of it, always at the same place."""

    def __init__(self, folder: Path, work: Path | None = None) -> None:
        self.folder, self.base, self.work = folder, folder / "base", work or folder / "work"
        self.work.mkdir(parents=True, exist_ok=True)
        self.works = WORKS | {name: work for name, (_, work) in PAGES.items()}
        data = write_demo(folder / "demo", patients=60)
        self.keys = {
            "paths.data_root": data["data_root"], "paths.manifest_dir": data["manifest_dir"],
            "paths.outputs_root": f"{self.work}/outputs", "paths.cache_dir": f"{self.work}/cache",
            "utils.device": "cpu", "model.params.hidden_dims": [8], "training.batch_size": 32,
            "data.columns.labels": LABELS, "data.test_manifests": ["test.csv"],
        }  # fmt: skip
        base = self.keys | _BASE_KEYS
        study = {"name": "kills", "base": base, "grid": {"budget": [20, 30], "utils.seed": [1]}}
        space = {"training.learning_rate": {"low": 1e-3, "high": 1e-1, "log": True}}
        search = {"name": "look", "base": base, "space": space, "trials": 3, "batch": 1}
        for name, content in (("study", study), ("search", search)):
            (self.work.parent / f"{name}.yaml").write_text(yaml.safe_dump(content))
        train_old_run(
            self.work.parent / "old/manual_budget/2025-11-03_10-20-30", folder / "demo", LABELS, train="valid.csv"
        )
        draw = np.random.default_rng(0)
        targets = draw.integers(0, 2, (80, len(LABELS)))
        columns = {f"target_{name}": targets[:, k] for k, name in enumerate(LABELS)}
        columns |= {f"prob_{name}": draw.random(80).round(4) for name in LABELS}
        table = pd.DataFrame({"volumename": [f"valid_{k}_a_1" for k in range(80)], **columns})
        table.to_csv(self.work.parent / "predictions.csv", index=False)
        for seed in (1, 2):
            run = [f"paths.run_dir={self.work}/outputs/train/run{seed}", f"utils.seed={seed}", "training.max_epochs=5"]
            pid = self._launch("train", [*self._overrides(), *run, "evaluation.after_training=true"])
            assert wait(pid) == 0, self.log.read_text()
        shutil.copytree(folder / "demo/manifests", self.work.parent / "manifests")
        shutil.copytree(self.work, self.base)
        self.kept = self._digests(self.base)

    @property
    def log(self) -> Path:
        """What verbs printed since `reset`."""
        return self.folder / "verbs.log"

    def start(self, verb: str, around: Around = lambda work: work()) -> int:
        """Start a verb in a fork and return the process id; ``around`` is called there with what does the work."""
        if verb in PAGES:
            return fork(lambda: around(lambda: _on_page(PAGES[verb][0], self.work)), self.log)
        own = WORKS[verb].arguments(self.work)
        return self._launch(verb, own if verb in _WITHOUT_KEYS else [*own, *self._overrides()], around)

    def _launch(self, verb: str, arguments: list[str], around: Around = lambda work: work()) -> int:
        def work() -> int:
            torch.set_num_threads(1)
            # A checkpoint at each epoch, so that short work too is continued from one.
            loop.CHECKPOINT_EVERY_S, loop.CHECKPOINT_SHARE = 0.0, math.inf
            return around(lambda: run_verb([verb, *arguments]))

        return fork(work, self.log)

    def _overrides(self) -> list[str]:
        return [f"{name}={json.dumps(value)}".replace('"', "'") for name, value in self.keys.items()]

    def reset(self) -> None:
        """Make the working folder a fresh copy of the base."""
        for path in self.work.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(self.base, self.work, dirs_exist_ok=True)
        self.log.write_text("")

    def results(self, work: Work) -> dict[str, str]:
        """Return the digest of every result of a work."""

        def digests() -> dict[str, str]:
            return {_ID.sub("*", str(path.relative_to(self.work))): digest(path) for path in work.results(self.work)}

        return ask(digests, self.folder)

    def faults(self, work: Work) -> dict[str, list[str]]:
        """Return what is lost or unreadable now, after a stop: all that lists and pages read is read."""
        return ask(lambda: {"lost": self._lost(work), "unreadable": unreadable(self.work)}, self.folder)

    def _lost(self, work: Work) -> list[str]:
        present = self._digests(self.work)
        return [f"{name} has changed" for name, value in self.kept.items()
                if present.get(name) != value and not name.startswith(work.own)]  # fmt: skip

    @staticmethod
    def _digests(root: Path) -> dict[str, str]:
        """Return a digest of every file of the base's that is not a lock, a pointer or the ledger."""
        shared = ("latest_run.json", "evaluations.jsonl")
        files = [path for path in _files(root) if path.name not in shared]
        return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def unreadable(work: Path) -> list[str]:
    """Return what lists and pages could not read of a store, and what reads as active though its process is gone."""
    outputs = work / "outputs"
    faults = [run.reason for run in damaged_in(outputs, thorough=True)]
    folders = run_folders(outputs)  # first, since work that goes on adds some
    listed = {str(run.paths.root) for run in RunStore(outputs).runs(kind=None)}
    faults += [f"{folder} is not listed" for folder in folders if folder not in listed]
    faults += [f"{folder} reads as active" for folder in active_runs(outputs)]
    if Ledger(outputs).damage():
        faults.append(Ledger(outputs).damage())
    for paths in studies_in(outputs):
        if paths.plan.is_file():
            study_status(paths, read_plan(paths))
        if paths.search.is_file():
            read_trials(paths)
    return faults


def contents(run_dir: Path) -> dict[str, Any]:
    """Return everything of a run that must be equal: weights, optimiser, metrics, and the scores on the test set."""
    paths = RunPaths(run_dir)
    files = [paths.final_model, paths.last_state, paths.metrics, paths.best_metrics]
    files += sorted(run_dir.glob("evaluation/*/scores.parquet"))
    return {str(path.relative_to(run_dir)): _plain(path.name, path.read_bytes()) for path in files}


def digest(path: Path) -> str:
    """Return the digest of a result without times, places and processes."""
    if path.name == "journal.log":
        rows = [trial_row(trial) for trial in read_trials(StudyPaths(path.parent))]
        content = [row | {"value": round(row["value"], 6)} for row in rows]
    else:
        content = _plain(path.name, path.read_bytes())
    return hashlib.sha256(repr(content).encode()).hexdigest()[:16]


def _plain(name: str, content: bytes) -> Any:
    if name.endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [member for member in archive.namelist() if not member.endswith("status.json")]
            return {member: _plain(member, archive.read(member)) for member in names}
    if name.endswith(".pt"):
        return bits(torch.load(io.BytesIO(content), weights_only=True))
    if name.endswith((".json", ".jsonl")):
        lines = content.decode().splitlines() if name.endswith("l") else [content.decode()]
        return [_without(json.loads(line)) for line in lines]
    if name.endswith(".csv"):
        table = pd.read_csv(io.BytesIO(content), dtype=str)
        return table.drop(columns=[column for column in table if column in _DIFFERS]).to_csv()
    return content


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without(item) for key, item in value.items() if key not in _DIFFERS}
    return [_without(item) for item in value] if isinstance(value, list) else value


def bits(value: Any) -> Any:
    """Return nested tensors as bytes, which can be compared."""
    if isinstance(value, torch.Tensor):
        return (str(value.dtype), tuple(value.shape), value.numpy().tobytes())
    if isinstance(value, dict):
        return {key: bits(item) for key, item in value.items()}
    return [bits(item) for item in value] if isinstance(value, list) else value


def import_modules(names: Iterable[str]) -> None:
    """Import the modules that work needed, so that the next forks have them."""
    for name in names:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
