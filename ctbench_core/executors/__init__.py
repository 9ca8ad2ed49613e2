"""Where work runs: in this process, on workers of this machine, or on a cluster. Only the cluster files import Dask."""

from typing import TYPE_CHECKING

from ctbench_core.rooms import load_on_use

if TYPE_CHECKING:
    from ctbench_core.executors.cluster_file import read_options, write_options
    from ctbench_core.executors.here import Here
    from ctbench_core.executors.opening import has_dask, open_executor, require_dask
    from ctbench_core.executors.options import HERE, SYSTEMS, ClusterOptions, parse_options
    from ctbench_core.executors.packing import shards_on
    from ctbench_core.executors.session_file import Session, read_session
    from ctbench_core.executors.task import Ended, Executor, Task

load_on_use(__name__)
