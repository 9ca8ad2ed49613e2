"""The Python API for notebooks and scripts: `import ctbench_core.api as ct`.

Every function returns a report: tables as pandas frames, figures of Plotly, and a summary that a notebook shows. The
numbers are those that the command line prints and stores. torch and Plotly load when they are needed.
"""

from ctbench_core.api.alignment import AlignmentReport, align
from ctbench_core.api.comparison import ComparisonReport, compare
from ctbench_core.api.data import DataReport, load
from ctbench_core.api.evaluation import EvaluationReport, evaluate, open_evaluation
from ctbench_core.api.training import TrainingReport, open_run, train
from ctbench_core.config import Config
from ctbench_core.demo import write_demo
from ctbench_core.errors import CtbenchError

__all__ = [
    "AlignmentReport",
    "ComparisonReport",
    "Config",
    "CtbenchError",
    "DataReport",
    "EvaluationReport",
    "TrainingReport",
    "align",
    "compare",
    "evaluate",
    "load",
    "open_evaluation",
    "open_run",
    "train",
    "write_demo",
]
