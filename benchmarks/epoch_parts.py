"""Time the parts of an epoch of CT-RATE's shape: ``python -m benchmarks.epoch_parts`` prints milliseconds by part.

Torch's profiler times its operations, and clocks time the other parts; the remainder is Python between the operations.
Profiling slows an epoch down, so both the profiled and the plain epoch are printed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.training import HIDDEN, TRAIN, best, config, dataset, products, synthetic
from ctbench_core.train.batches import ByteStream
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
    """Total time of the calls of a function."""

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
    drawing, validation = Clock(ByteStream, "draw"), Clock(trainer, "_validate")
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        profiled = best(lambda: trainer._train_epoch([next(count)], lambda: True), 1)
    trainer._validate([1], [0.5])
    for clock in (drawing, validation):
        clock.undo()
    by_operation = {event.key: event.self_cpu_time_total / 1e6 for event in profiler.key_averages()}
    rows = {part: sum(by_operation.pop(name, 0.0) for name in names) for part, names in PARTS.items()}
    rows |= {"drawing random bytes": drawing.total, "validation: products and metrics": validation.total}
    rows["views, allocations and other operations"] = sum(
        seconds for name, seconds in by_operation.items() if name.startswith("aten::")
    )
    print(f"| the products alone, in a loop of their own | {alone * 1e3:.0f} | 1.00 |")
    for part, seconds in rows.items():
        print(f"| {part} | {seconds * 1e3:.0f} | {seconds / alone:.2f} |")
    print(f"| left: Python between the operations | {(whole - sum(rows.values())) * 1e3:.0f} | "
          f"{(whole - sum(rows.values())) / alone:.2f} |")  # fmt: skip
    print(f"| the epoch with its validation | {whole * 1e3:.0f} | {whole / alone:.2f} |")
    print(f"profiled without validation: {profiled * 1e3:.0f} ms")


if __name__ == "__main__":
    main()
