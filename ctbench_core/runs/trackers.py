"""Experiment trackers: where a run's figures also go. The run directory stays the truth.

A tracker is told of every epoch and of the end. What it is told is sent by a thread of its own, so that a slow or
absent server never holds a training up; a missing package or a server that does not answer is a warning.
To add one, write a `Service` and name it in `SERVICES`.

MERGED: The trackers themselves: Weights & Biases, MLflow, TensorBoard, each spoken to through its own library.

Figures have the names that the older system sent: ``val/auprc``, ``val/<finding>/f1``, ``best_val_auprc``.
"""

from __future__ import annotations

import contextlib
import math
import os
import queue
import re
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ctbench_core.config import KEYS, Config, get_key
from ctbench_core.runs.layout import RunPaths

# How long the end of a run waits for what is still to be sent.
WAIT_S = 30.0
# A server that did not answer is not asked again for the next runs, for so long.
_SHUN_S = 300.0
_shunned: dict[str, tuple[float, str]] = {}


class Tracker:
    """The tracker of a run that has none: it sends nothing."""

    def __init__(self, warnings: Sequence[str] = ()) -> None:
        self._warnings = list(warnings)
        self.ended = False

    def epoch(self, line: dict[str, Any]) -> None:
        """Take the figures of an epoch: a line of ``metrics.jsonl``."""

    def end(self, result: dict[str, Any]) -> list[str]:
        """Take the final figures (the `train` JSON), send what is left, and return what went wrong."""
        self.ended = True
        return self._warnings


class _Sender(Tracker):
    """Sends to a service from a thread."""

    def __init__(self, name: str, service: Service) -> None:
        super().__init__()
        self._name, self._service = name, service
        self._given: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._result: dict[str, Any] = {}
        self._thread = threading.Thread(target=self._work, name=f"ctbench-{name}", daemon=True)
        self._thread.start()

    def epoch(self, line: dict[str, Any]) -> None:
        self._given.put(line)

    def end(self, result: dict[str, Any]) -> list[str]:
        self._result = result
        self._given.put(None)
        self._thread.join(WAIT_S)
        if self._thread.is_alive():
            self._shun(f"no answer within {WAIT_S:g} s")
        return super().end(result)

    def _work(self) -> None:
        try:
            self._service.open()
            while self._pass_on():
                pass
            self._service.end(self._result)
        except ImportError as error:
            self._warn(f"{error}. Install it with: pip install 'ctbench[{self._name}]'")
        except problems(self._service) as error:
            self._shun(str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__)

    def _pass_on(self) -> bool:
        """Send all that has come by now, at once; return whether more may come."""
        lines = [self._given.get()]
        while not self._given.empty():
            lines.append(self._given.get())
        told = [line for line in lines if line is not None]
        if told:
            self._service.epochs(told)
        return lines[-1] is not None

    def _shun(self, reason: str) -> None:
        _shunned[self._name] = time.monotonic(), reason
        self._warn(reason)

    def _warn(self, reason: str) -> None:
        self._warnings.append(f"The run is not tracked by {self._name}, or not to its end: {reason}")


@contextlib.contextmanager
def tracked(config: Config, paths: RunPaths) -> Iterator[Tracker]:
    """Yield the tracker that ``logging.logger_name`` names; when the block fails, it hears of that."""
    tracker = _open(config, paths)
    try:
        yield tracker
    finally:
        if not tracker.ended:
            tracker.end({"state": "failed"})


def _open(config: Config, paths: RunPaths) -> Tracker:
    given = config.logging.logger_name
    name = (given or "none").lower()
    if name in ("none", "null", "false"):
        return Tracker()
    if name not in SERVICES:
        known = ", ".join(SERVICES)
        return Tracker([f"Nothing is tracked: logging.logger_name is {given!r}. Known: {known}."])
    failed_at, reason = _shunned.get(name, (0.0, ""))
    if reason and time.monotonic() - failed_at < _SHUN_S:
        return Tracker([f"The run is not tracked by {name}, which failed a moment ago: {reason}"])
    return _Sender(name, SERVICES[name](config, paths))


_OPEN_WITHIN_S = 20
_MACROS = ("auprc", "auroc", "f1_macro")


class Service:
    """One tracker's side of a run. Each method may raise what its library raises; see `problems`."""

    library = ""  # the package whose own errors are meant
    errors: tuple[str, ...] = ()  # their dotted names in it

    def __init__(self, config: Config, paths: RunPaths) -> None:
        self.config, self.paths = config, paths

    def open(self) -> None:
        """Begin the run there, with its config."""

    def epochs(self, lines: list[dict[str, Any]]) -> None:
        """Send the figures of some epochs."""

    def end(self, result: dict[str, Any] | None) -> None:
        """Send the final figures, and close."""

    @property
    def name(self) -> str:
        """What the run is called there."""
        return self.config.logging.run_name or self.paths.root.name

    @property
    def group(self) -> str:
        """What its job is called there."""
        return self.config.logging.group or self.config.job_name

    @property
    def sends_model(self) -> bool:
        """Whether the checkpoint goes too; older trees write "all", "false"."""
        return (
            str(self.config.logging.log_model).lower() not in ("false", "none", "") and self.paths.final_model.is_file()
        )


def problems(service: Service) -> tuple[type[BaseException], ...]:
    """Return the errors that mean that a tracker cannot be reached or used."""
    found: list[type[BaseException]] = [OSError, RuntimeError, ValueError, TypeError, LookupError, AttributeError]
    for dotted in service.errors:
        value: Any = sys.modules.get(service.library)
        for part in dotted.split("."):
            value = getattr(value, part, None)
        if isinstance(value, type) and issubclass(value, BaseException):
            found.append(value)
    return tuple(found)


def figures_of(line: dict[str, Any]) -> dict[str, float]:
    """Return the figures of an epoch by their names in trackers; undefined ones are left out."""
    metrics = line.get("val_metrics", {})
    found: dict[str, Any] = {"train/loss": line.get("train_loss"), "val/loss": line.get("val_loss")}
    found |= {f"val/{name}": metrics.get(name) for name in _MACROS}
    found |= {
        name.replace("best_val", "best/val"): value for name, value in line.items() if name.startswith("best_val_")
    }
    for label, values in metrics.get("per_class", {}).items():
        found |= {f"val/{label}/{name}": value for name, value in values.items()}
    return dict(_defined(found))


def final_figures(result: dict[str, Any] | None) -> dict[str, float]:
    """Return the figures of the `train` JSON: the best epoch, and the test sets that were opened."""
    result = result or {}
    found: dict[str, Any] = {"best_epoch": result.get("best_epoch"), "epochs": result.get("epochs")}
    found |= {f"best_val_{name}": value for name, value in (result.get("best_val") or {}).items()}
    for manifest, metrics in (result.get("test") or {}).items():
        found |= {f"test/{manifest}/{name}": metrics.get(name) for name in _MACROS}
    return dict(_defined(found))


def _defined(figures: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in figures.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            yield name, float(value)


class WandbService(Service):
    """Weights & Biases; ``WANDB_MODE=offline`` keeps the run in its directory, to be synced later."""

    library, errors = "wandb", ("errors.Error", "sdk.mailbox.mailbox_handle.HandleAbandonedError")

    def open(self) -> None:
        import wandb

        options = self.config.logging
        self._run = wandb.init(
            project=options.project_name or "ctbench",
            entity=options.entity,
            group=self.group,
            name=self.name,
            job_type=options.job_type,
            tags=options.tags or None,
            id=self.paths.root.name,
            resume=None if os.environ.get("WANDB_MODE") == "offline" else "allow",
            dir=str(self.paths.root),
            config=self.config.to_dict(),
            reinit="create_new",  # several runs of a bank are open at once
            settings=wandb.Settings(silent=True, console="off", init_timeout=_OPEN_WITHIN_S),
        )
        self._run.define_metric("epoch")
        for part in ("train/*", "val/*", "best/*"):
            self._run.define_metric(part, step_metric="epoch")

    def epochs(self, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            self._run.log({"epoch": line["epoch"], **figures_of(line)})

    def end(self, result: dict[str, Any] | None) -> None:
        import wandb

        state = (result or {}).get("state", "failed")
        self._run.summary.update({**final_figures(result), "state": state, "interrupted": state != "finished"})
        if self.sends_model:
            artifact = wandb.Artifact(f"{self.name}-model".replace(" ", "_"), type="model")
            artifact.add_file(str(self.paths.final_model))
            self._run.log_artifact(artifact)
        self._run.finish(exit_code=int(state == "failed"))


class MlflowService(Service):
    """MLflow: a server, or by default a database in the run store."""

    library, errors = "mlflow", ("exceptions.MlflowException",)
    _BATCH = 900  # the interface takes a thousand metrics and a hundred parameters at once
    _PARAMS = 90

    def open(self) -> None:
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(_OPEN_WITHIN_S))
        address, artifacts = self._places()
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient(address)
        name = self.config.logging.project_name or "ctbench"
        known = self._client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else self._client.create_experiment(name, artifacts)
        tags = {"mlflow.runName": self.name, "ctbench.run_dir": str(self.paths.root.resolve()), "group": self.group}
        tags |= dict.fromkeys(self.config.logging.tags or [], "")
        begun = self._client.search_runs(
            [experiment], f"tags.`ctbench.run_dir` = '{tags['ctbench.run_dir']}'", max_results=1
        )
        self._id = begun[0].info.run_id if begun else self._client.create_run(experiment, tags=tags).info.run_id
        self._client.update_run(self._id, status="RUNNING")
        params = [Param(key, str(get_key(self.config, key))) for key in KEYS]
        for start in range(0, len(params) if not begun else 0, self._PARAMS):
            self._client.log_batch(self._id, params=params[start : start + self._PARAMS])

    def _places(self) -> tuple[str | None, str | None]:
        """Return the tracking address, None for what MLflow's own setting says, and where artifacts go."""
        given = self.config.logging.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        if given is None:
            folder = (Path(self.config.paths.outputs_root) / ".mlflow").resolve()
            folder.mkdir(parents=True, exist_ok=True)
            return f"sqlite:///{folder.as_posix()}/mlflow.db", (folder / "artifacts").as_uri()
        if given.startswith("file:") or "://" not in given:
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # new versions want to be asked for folders
        return given, None

    def epochs(self, lines: list[dict[str, Any]]) -> None:
        self._send({line["epoch"]: figures_of(line) for line in lines})

    def end(self, result: dict[str, Any] | None) -> None:
        state = (result or {}).get("state", "failed")
        self._send({int((result or {}).get("epochs") or 0): final_figures(result)})
        if self.sends_model:
            self._client.log_artifact(self._id, str(self.paths.final_model))
        self._client.set_terminated(self._id, {"finished": "FINISHED", "failed": "FAILED"}.get(state, "KILLED"))

    def _send(self, by_step: dict[int, dict[str, float]]) -> None:
        from mlflow.entities import Metric
        from mlflow.utils.time import get_current_time_millis

        moment = get_current_time_millis()
        metrics = [
            Metric(re.sub(r"[^\w\-. :/]", "_", name), value, moment, step)
            for step, figures in by_step.items()
            for name, value in figures.items()
        ]
        for start in range(0, len(metrics), self._BATCH):
            self._client.log_batch(self._id, metrics=metrics[start : start + self._BATCH])


class TensorboardService(Service):
    """TensorBoard: event files in the run directory, for ``tensorboard --logdir <outputs_root>``."""

    library = "tensorboard"

    def open(self) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(self.paths.root / "tensorboard"))
        lines = [f"    {key}: {get_key(self.config, key)}" for key in KEYS]
        self._writer.add_text("config", "\n".join(lines))

    def epochs(self, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            for name, value in figures_of(line).items():
                self._writer.add_scalar(name, value, line["epoch"])

    def end(self, result: dict[str, Any] | None) -> None:
        for name, value in final_figures(result).items():
            self._writer.add_scalar(f"final/{name}", value, int((result or {}).get("epochs") or 0))
        self._writer.close()


SERVICES: dict[str, type[Service]] = {
    "wandb": WandbService,
    "mlflow": MlflowService,
    "tensorboard": TensorboardService,
}
