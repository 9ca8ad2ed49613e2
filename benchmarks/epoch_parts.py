"""Where an epoch of CT-RATE's shape goes: ``python -m benchmarks.epoch_parts`` prints milliseconds by part.

Operations of torch are timed by its profiler, the rest by clocks around it; what is left over is Python between the
operations. The profiled epoch is slower than a plain one by what noting each operation costs, so both are printed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.training import HIDDEN, TRAIN, best, config, dataset, products, synthetic
from ctbench_core.train.streams import ByteStream
from ctbench_core.train.trainer import Trainer

PARTS = {
    "matrix products": ("aten::baddbmm", "aten::bmm"),
    "Adam": ("aten::_fused_adam_", "aten::add_"),
    "ReLU, dropout and their gradient": ("aten::relu_", "aten::clamp_min_", "aten::threshold_backward"),
    "random bytes to masks": ("aten::copy_",),
    "bias gradients": ("aten::sum",),
    "gathering rows": ("aten::index_select",),
    "loss and its gradient": ("aten::sigmoid", "aten::sub_", "aten::mul_", "aten::where", "aten::mul"),
}


class Clock:
    """Adds up the time that calls of a function take."""

    def __init__(self, owner: Any, name: str) -> None:
        self.total, real = 0.0, getattr(owner, name)

        def called(*arguments: Any, **options: Any) -> Any:
            started = time.perf_counter()
            try:
                return real(*arguments, **options)
            finally:
                self.total += time.perf_counter() - started

        self.undo: Callable[[], None] = lambda: setattr(owner, name, real)
        setattr(owner, name, called)


def main() -> None:
    """Measure and print a table."""
    x, y = synthetic()
    trainer = Trainer([config(HIDDEN, 1)], [dataset(x, y, np.arange(TRAIN))])
    count = iter(range(1, 100))
    trainer.run_epoch([next(count)])
    with torch.inference_mode():
        alone = min(best(lambda: products("in, out")), best(lambda: products("out, in")))
    whole = best(lambda: trainer.run_epoch([next(count)]))
    drawn, validated = Clock(ByteStream, "draw"), Clock(trainer, "_validate")
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        noted = best(lambda: trainer._train_epoch([next(count)], lambda: True), 1)
    trainer._validate([1], [0.5])
    for clock in (drawn, validated):
        clock.undo()
    taken = {event.key: event.self_cpu_time_total / 1e6 for event in profiled.key_averages()}
    rows = {part: sum(taken.pop(name, 0.0) for name in names) for part, names in PARTS.items()}
    rows |= {"drawing random bytes": drawn.total, "validation: products and metrics": validated.total}
    rows["views, allocations and other operations"] = sum(
        seconds for name, seconds in taken.items() if name.startswith("aten::")
    )
    print(f"| the products alone, in a loop of their own | {alone * 1e3:.0f} | 1.00 |")
    for part, seconds in rows.items():
        print(f"| {part} | {seconds * 1e3:.0f} | {seconds / alone:.2f} |")
    print(f"| left: Python between the operations | {(whole - sum(rows.values())) * 1e3:.0f} | "
          f"{(whole - sum(rows.values())) / alone:.2f} |")  # fmt: skip
    print(f"| the epoch with its validation | {whole * 1e3:.0f} | {whole / alone:.2f} |")
    print(f"profiled without validation: {noted * 1e3:.0f} ms")


if __name__ == "__main__":
    main()
