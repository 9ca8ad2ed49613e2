"""Write the shards of a packed store on the workers of an executor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ctbench_core.executors.task import Executor, Task
from ctbench_core.features import RunShards, Shard, write_shard

_POLL_S = 0.5


def shards_on(executor: Executor) -> RunShards:
    """Return a function that writes shards on an executor and yields the place of each in the list as it ends."""

    def run(shards: list[Shard]) -> Iterator[tuple[int, Any]]:
        places = {f"shard {place + 1}": place for place in range(len(shards))}
        for name, place in places.items():
            executor.submit(Task(name, write_shard, (shards[place],), trains=False))
        try:
            while executor.pending:
                ended = executor.next(_POLL_S)
                if ended is not None:
                    yield places[ended.task.name], ended.value
        finally:
            if executor.pending:
                executor.stop()

    return run
