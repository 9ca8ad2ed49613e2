"""Time the engine on one GPU: ``python -m benchmarks.gpu`` (under eight minutes; prints one JSON object).

An epoch with validation at batch 64 in float32 and bf16, a bank of 60 heads beside one by one, exact alignment at
N = 22,185 and 50,188, peak memory of each, and how far results differ from the CPU's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks import alignment as alignment_benchmark
from benchmarks.training import (
    FINDINGS,
    HIDDEN,
    TRAIN,
    VAL,
    budget_bank,
    config,
    dataset,
    synthetic,
    train_stacks,
)
from ctbench_core.alignment import align
from ctbench_core.train.planning import divide_into_stacks
from ctbench_core.train.trainer import Trainer


def measured(call: Callable[[], Any], rounds: int = 3) -> dict[str, float]:
    """Return the least seconds of a call and the most GPU memory that it held."""
    seconds = []
    torch.cuda.reset_peak_memory_stats()
    for _ in range(rounds):
        torch.cuda.synchronize()
        started = time.perf_counter()
        call()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return {"seconds": round(min(seconds), 4), "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 3)}


def epochs() -> dict[str, Any]:
    """Time one epoch of MLP 1024 in two precisions, and compare three float64 epochs with the CPU."""
    x, y = synthetic()
    results: dict[str, Any] = {}
    for precision in ("float32", "bf16"):
        settings = config(HIDDEN, 1)
        settings.utils.device, settings.training.precision = "cuda", precision
        trainer = Trainer([settings], [dataset(x, y, np.arange(TRAIN))])
        number = iter(range(1, 100))
        trainer.run_epoch([next(number)])
        results[precision] = measured(lambda trainer=trainer, number=number: trainer.run_epoch([next(number)]))
    reports = {}
    for device in ("cpu", "cuda"):
        settings = config(256, 1)
        settings.utils.device, settings.training.precision = device, "float64"
        trainer = Trainer([settings], [dataset(x, y, np.arange(2_000))])
        reports[device] = [trainer.run_epoch([number])[0] for number in (1, 2, 3)][-1]
    results["float64_auprc_gpu_less_cpu"] = reports["cuda"].macros["auprc"] - reports["cpu"].macros["auprc"]
    results["float64_loss_gpu_less_cpu"] = reports["cuda"].val_loss - reports["cpu"].val_loss
    return results


def bank(epoch_count: int = 6) -> dict[str, Any]:
    """Time 60 heads of 12 budgets x 5 seeds together, and six of them one by one."""
    configs, sets = budget_bank(256, 384, "cuda")
    stacks = divide_into_stacks(configs, sets)
    every_tenth = [[k] for k in range(4, 60, 10)]
    together = measured(lambda: train_stacks(configs, sets, stacks, epoch_count))
    one_by_one = measured(lambda: train_stacks(configs, sets, every_tenth, epoch_count), 2)["seconds"]
    return {"together": together, "one_by_one_60": round(10 * one_by_one, 3)}


def alignment() -> dict[str, Any]:
    """Time exact alignment with both truths and both directions, and compare N = 4,000 with the CPU."""
    results: dict[str, Any] = {}
    for size in (22_185, 50_188):
        image, text, exams, codes = alignment_benchmark.synthetic(size)
        call = lambda image=image, text=text, exams=exams, codes=codes: align(  # noqa: E731
            image, text, exams, codes, device="cuda"
        )
        results[str(size)] = measured(call, 2)
    image, text, exams, codes = alignment_benchmark.synthetic(4_000)
    cpu, gpu = (align(image, text, exams, codes, device=device).metrics for device in ("cpu", "cuda"))
    results["largest_difference_from_cpu"] = max(
        abs(gpu[name] - value) for name, value in cpu.items() if isinstance(value, float) and np.isfinite(value)
    )
    return results


def main() -> None:
    """Print every subject as one JSON object, each as soon as it is known."""
    results: dict[str, Any] = {"device": torch.cuda.get_device_name(), "torch": torch.__version__}
    results["shape"] = {"train": TRAIN, "validation": VAL, "findings": FINDINGS}
    for subject in (epochs, bank, alignment):
        results[subject.__name__] = subject()
        print(json.dumps({subject.__name__: results[subject.__name__]}), flush=True)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
