"""Send a run's metrics to an experiment tracker too; `declared.TRACKERS` lists them.

A tracker receives every epoch and the end of a run, and a thread of its own sends them, so that a slow or absent
server never delays the training. A missing package or a server that does not answer is a warning: the run directory
holds everything. A tracker is a `Service` and its declaration.

Metrics have the names that the older system sent: ``val/auprc``, ``val/<finding>/f1``, ``best_val_auprc``.
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
from ctbench_core.declared import TRACKERS, TrackerInfo, load, macro_keys
from ctbench_core.runs.layout import RunPaths

# How long the end of a run waits for what is still to be sent.
WAIT_S = 30.0
# A server that did not answer is not tried again for this long.
_RETRY_AFTER_S = 300.0
_OPEN_WITHIN_S = 20
_failures: dict[str, tuple[float, str]] = {}  # tracker to the time and reason of its last failure


class Tracker:
    """The tracker of a run that has none: it sends nothing."""

    def __init__(self, warnings: Sequence[str] = ()) -> None:
        self._warnings = list(warnings)
        self.ended = False

    def epoch(self, line: dict[str, Any]) -> None:
        """Queue the metrics of an epoch, a line of ``metrics.jsonl``."""

    def end(self, result: dict[str, Any]) -> list[str]:
        """Queue the final metrics (the `train` JSON), wait until all is sent, and return the warnings."""
        self.ended = True
        return self._warnings


class _ThreadedTracker(Tracker):
    """Sends to a service from a thread."""

    def __init__(self, info: TrackerInfo, service: Service) -> None:
        super().__init__()
        self._info, self._service = info, service
        self._lines: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()  # None: the run has ended
        self._result: dict[str, Any] = {}
        self._thread = threading.Thread(target=self._work, name=f"ctbench-{info.name}", daemon=True)
        self._thread.start()

    def epoch(self, line: dict[str, Any]) -> None:
        self._lines.put(line)

    def end(self, result: dict[str, Any]) -> list[str]:
        self._result = result
        self._lines.put(None)
        self._thread.join(WAIT_S)
        if self._thread.is_alive():
            self._record_failure(f"no answer within {WAIT_S:g} s")
        return super().end(result)

    def _work(self) -> None:
        try:
            self._service.open()
            while self._send_queued():
                pass
            self._service.end(self._result)
        except ImportError as error:
            self._warn(_missing_package(self._info, error))
        except tracker_errors(self._service) as error:
            self._record_failure(str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__)

    def _send_queued(self) -> bool:
        """Send all queued epochs at once; return whether more may come."""
        queued = [self._lines.get()]
        while not self._lines.empty():
            queued.append(self._lines.get())
        lines = [line for line in queued if line is not None]
        if lines:
            self._service.epochs(lines)
        return queued[-1] is not None

    def _record_failure(self, reason: str) -> None:
        _failures[self._info.name] = time.monotonic(), reason
        self._warn(reason)

    def _warn(self, reason: str) -> None:
        self._warnings.append(f"{self._info.name} did not receive the whole run: {reason}")


@contextlib.contextmanager
def open_tracker(config: Config, paths: RunPaths) -> Iterator[Tracker]:
    """Yield the tracker that ``logging.logger_name`` names; when the block fails, mark the run there as failed."""
    tracker = _choose_tracker(config, paths)
    try:
        yield tracker
    finally:
        if not tracker.ended:
            tracker.end({"state": "failed"})


def _choose_tracker(config: Config, paths: RunPaths) -> Tracker:
    name = (config.logging.logger_name or "none").lower()
    if name in ("none", "null", "false"):
        return Tracker()
    info = TRACKERS.get(TRACKERS.canonical(name))
    if info is None:
        known = ", ".join(TRACKERS)
        return Tracker([f"Unknown tracker {config.logging.logger_name!r} in logging.logger_name. Known: {known}."])
    failed_at, reason = _failures.get(info.name, (0.0, ""))
    if reason and time.monotonic() - failed_at < _RETRY_AFTER_S:
        return Tracker([f"Not sent to {name}, which failed less than {_RETRY_AFTER_S / 60:g} minutes ago: {reason}"])
    try:
        service: Service = load(info.service)(config, paths)
    except ImportError as error:
        return Tracker([f"{info.name} did not receive the run: {_missing_package(info, error)}"])
    return _ThreadedTracker(info, service)


def _missing_package(info: TrackerInfo, error: ImportError) -> str:
    return f"{error}. Install it with: {info.install}" if info.install else f"{error}. Install its package."


def epoch_metrics(line: dict[str, Any]) -> dict[str, float]:
    """Return the metrics of an epoch by their names in trackers; undefined ones are left out."""
    validation = line.get("val_metrics", {})
    metrics: dict[str, Any] = {"train/loss": line.get("train_loss"), "val/loss": line.get("val_loss")}
    metrics |= {f"val/{name}": validation.get(name) for name in macro_keys()}
    best = "best_val_"
    metrics |= {f"best/val_{name.removeprefix(best)}": line[name] for name in line if name.startswith(best)}
    for finding, values in validation.get("per_class", {}).items():
        metrics |= {f"val/{finding}/{name}": value for name, value in values.items()}
    return dict(_defined(metrics))


def final_metrics(result: dict[str, Any]) -> dict[str, float]:
    """Return the metrics of the `train` JSON: those of the best epoch and of the test sets."""
    metrics: dict[str, Any] = {"best_epoch": result.get("best_epoch"), "epochs": result.get("epochs")}
    metrics |= {f"best_val_{name}": value for name, value in (result.get("best_val") or {}).items()}
    for manifest, values in (result.get("test") or {}).items():
        metrics |= {f"test/{manifest}/{name}": values.get(name) for name in macro_keys()}
    return dict(_defined(metrics))


def _defined(metrics: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in metrics.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            yield name, float(value)


class Service:
    """One run at one tracker. Each method may raise what its library raises; see `tracker_errors`."""

    library = ""  # the package that defines the errors
    errors: tuple[str, ...] = ()  # their dotted names in it

    def __init__(self, config: Config, paths: RunPaths) -> None:
        self.config, self.paths = config, paths

    def open(self) -> None:
        """Create the run at the tracker, with its config."""

    def epochs(self, lines: list[dict[str, Any]]) -> None:
        """Send the metrics of some epochs."""

    def end(self, result: dict[str, Any]) -> None:
        """Send the final metrics, and close."""

    @property
    def name(self) -> str:
        """The run's name at the tracker."""
        return self.config.logging.run_name or self.paths.root.name

    @property
    def group(self) -> str:
        """The job's name at the tracker."""
        return self.config.logging.group or self.config.job_name

    @property
    def sends_model(self) -> bool:
        """Whether the checkpoint is sent too; older config trees write "all" or "false"."""
        is_off = str(self.config.logging.log_model).lower() in ("false", "none", "")
        return not is_off and self.paths.final_model.is_file()


def tracker_errors(service: Service) -> tuple[type[BaseException], ...]:
    """Return the errors that mean that a tracker cannot be reached or used."""
    errors: list[type[BaseException]] = [OSError, RuntimeError, ValueError, TypeError, LookupError, AttributeError]
    for dotted in service.errors:
        value: Any = sys.modules.get(service.library)
        for part in dotted.split("."):
            value = getattr(value, part, None)
        if isinstance(value, type) and issubclass(value, BaseException):
            errors.append(value)
    return tuple(errors)


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
            self._run.log({"epoch": line["epoch"], **epoch_metrics(line)})

    def end(self, result: dict[str, Any]) -> None:
        import wandb

        state = result.get("state", "failed")
        self._run.summary.update({**final_metrics(result), "state": state, "interrupted": state != "finished"})
        if self.sends_model:
            artifact = wandb.Artifact(f"{self.name}-model".replace(" ", "_"), type="model")
            artifact.add_file(str(self.paths.final_model))
            self._run.log_artifact(artifact)
        self._run.finish(exit_code=int(state == "failed"))


class MlflowService(Service):
    """MLflow: a server, or by default a database in the run store."""

    library, errors = "mlflow", ("exceptions.MlflowException",)
    _MAX_METRICS = 900  # one request takes at most 1,000 metrics or 100 parameters
    _MAX_PARAMS = 90

    def open(self) -> None:
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(_OPEN_WITHIN_S))
        address, artifacts = self._addresses()
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient(address)
        name = self.config.logging.project_name or "ctbench"
        known = self._client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else self._client.create_experiment(name, artifacts)
        folder = str(self.paths.root.resolve())
        tags = {"mlflow.runName": self.name, "ctbench.run_dir": folder, "group": self.group}
        tags |= dict.fromkeys(self.config.logging.tags or [], "")
        resumed = self._client.search_runs([experiment], f"tags.`ctbench.run_dir` = '{folder}'", max_results=1)
        self._id = resumed[0].info.run_id if resumed else self._client.create_run(experiment, tags=tags).info.run_id
        self._client.update_run(self._id, status="RUNNING")
        params = [] if resumed else [Param(key, str(get_key(self.config, key))) for key in KEYS]
        for start in range(0, len(params), self._MAX_PARAMS):
            self._client.log_batch(self._id, params=params[start : start + self._MAX_PARAMS])

    def _addresses(self) -> tuple[str | None, str | None]:
        """Return the tracking address and the place of artifacts; None leaves the choice to MLflow."""
        address = self.config.logging.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        if address is None:
            folder = (Path(self.config.paths.outputs_root) / ".mlflow").resolve()
            folder.mkdir(parents=True, exist_ok=True)
            return f"sqlite:///{folder.as_posix()}/mlflow.db", (folder / "artifacts").as_uri()
        if address.startswith("file:") or "://" not in address:
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # new versions refuse folders without it
        return address, None

    def epochs(self, lines: list[dict[str, Any]]) -> None:
        self._send({line["epoch"]: epoch_metrics(line) for line in lines})

    def end(self, result: dict[str, Any]) -> None:
        state = result.get("state", "failed")
        self._send({result.get("epochs") or 0: final_metrics(result)})
        if self.sends_model:
            self._client.log_artifact(self._id, str(self.paths.final_model))
        self._client.set_terminated(self._id, {"finished": "FINISHED", "failed": "FAILED"}.get(state, "KILLED"))

    def _send(self, by_epoch: dict[int, dict[str, float]]) -> None:
        from mlflow.entities import Metric
        from mlflow.utils.time import get_current_time_millis

        moment = get_current_time_millis()
        metrics = [
            Metric(re.sub(r"[^\w\-. :/]", "_", name), value, moment, epoch)
            for epoch, values in by_epoch.items()
            for name, value in values.items()
        ]
        for start in range(0, len(metrics), self._MAX_METRICS):
            self._client.log_batch(self._id, metrics=metrics[start : start + self._MAX_METRICS])


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
            for name, value in epoch_metrics(line).items():
                self._writer.add_scalar(name, value, line["epoch"])

    def end(self, result: dict[str, Any]) -> None:
        for name, value in final_metrics(result).items():
            self._writer.add_scalar(f"final/{name}", value, result.get("epochs") or 0)
        self._writer.close()
