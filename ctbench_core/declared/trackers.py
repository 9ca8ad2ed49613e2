"""The registered experiment trackers, which receive a run's metrics beside the run directory."""

from __future__ import annotations

from dataclasses import dataclass

from ctbench_core.declared.registry import Registry


@dataclass(frozen=True)
class TrackerInfo:
    """One tracker.

    Attributes:
        service: reference to its `runs.trackers.Service`.
        install: how its package is installed; empty if it needs none.
        usual_address: its server without ``logging.tracking_uri``; empty if it takes no address.
    """

    name: str
    title: str
    service: str
    install: str = ""
    usual_address: str = ""


TRACKERS = Registry(
    "tracker",
    (
        TrackerInfo(
            "wandb", "Weights & Biases", "ctbench_core.runs.trackers:WandbService", "pip install 'ctbench[wandb]'"
        ),
        TrackerInfo(
            "mlflow",
            "MLflow",
            "ctbench_core.runs.trackers:MlflowService",
            "pip install 'ctbench[mlflow]'",
            usual_address="MLFLOW_TRACKING_URI, else <outputs_root>/.mlflow/mlflow.db",
        ),
        TrackerInfo(
            "tensorboard",
            "TensorBoard",
            "ctbench_core.runs.trackers:TensorboardService",
            "pip install 'ctbench[tensorboard]'",
        ),
    ),
)
