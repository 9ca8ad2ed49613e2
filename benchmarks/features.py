"""Time loading 50,188 feature files against one `np.load` (or `torch.load`) a row, and loading the packed store.

Run from the project's root: ``python -m benchmarks.features [files [folder]]``. It first writes the files to a
temporary folder, or to a folder that later runs can use again. The variants take turns; each row is the median of
its rounds, with the ratio to our first load. All files are in the page cache, so the time is not that of the disk.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from ctbench_core.features import load_features

FILES, ADDED, WIDTH, ROUNDS = 47_149 + 3_039, 100, 512, 3

# Peak memory of one first load above the imports, in a process of its own (Linux: ru_maxrss would be inherited).
_PEAK = """
import sys
from ctbench_core.features import load_features

def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) * 1024

names = [f"train_{i}.npz" for i in range(int(sys.argv[3]))]
before = peak()
features = load_features(sys.argv[1], names, cache=sys.argv[2], mode="always")
features.matrix.sum()
print((peak() - before) / features.matrix.nbytes)
"""


def make_files(folder: Path, count: int) -> None:
    """Write the same vectors as .npz, .pt and one Parquet table."""
    vectors = np.random.default_rng(0).standard_normal((count + ADDED, WIDTH), dtype=np.float32)
    for kind in ("npz", "pt"):
        (folder / kind).mkdir()
    for i, vector in enumerate(vectors):
        np.savez(folder / "npz" / f"train_{i}.npz", vector[None])
        torch.save(torch.from_numpy(vector[None].copy()), folder / "pt" / f"train_{i}.pt")
    flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), WIDTH)
    pq.write_table(
        pa.table({"volumename": [f"train_{i}" for i in range(len(vectors))], "features": flat}), folder / "all.parquet"
    )


def names_of(kind: str, count: int) -> list[str]:
    """Return the files' names."""
    return [f"train_{i}.{kind}" for i in range(count)]


def np_load(folder: Path, names: list[str]) -> None:
    """Read one row after the other, as NumPy's manual shows it."""
    for name in names:
        with np.load(folder / name) as arrays:
            arrays["arr_0"]


def torch_load(folder: Path, names: list[str]) -> None:
    """Read one row after the other, as torch's manual shows it."""
    for name in names:
        torch.load(folder / name, weights_only=True)


def seconds(call: Callable[[], object]) -> float:
    """Time one call."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def report(title: str, times: dict[str, list[float]], ours: str) -> None:
    """Print the median of every subject and its ratio to ours."""
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    print(f"\n{title}")
    for name, median in medians.items():
        print(f"{name:44s}{1e3 * median:10.1f} ms{median / medians[ours]:9.1f} x")


def time_kind(root: Path, kind: str, loop: Callable[[Path, list[str]], None], count: int) -> None:
    """Time one file format: the loop, the first load, a later one, and one after files were added."""
    folder, cache = root / kind, root / "cache"
    shutil.rmtree(root / "peak", ignore_errors=True)
    names, more = names_of(kind, count), names_of(kind, count + ADDED)
    ours, times = f"ctbench, first load of .{kind}", {}
    for _ in range(ROUNDS):
        times.setdefault(f"one {loop.__name__.replace('_', '.')} a row", []).append(
            seconds(lambda: loop(folder, names))
        )
        shutil.rmtree(cache, ignore_errors=True)
        times.setdefault(ours, []).append(seconds(lambda: load_features(folder, names, cache=cache)))
        again = load_features(folder, names, cache=cache)
        times.setdefault("ctbench, later: opening", []).append(again.seconds["open"])
        times.setdefault("ctbench, later: verifying", []).append(again.seconds["verify"])
        times.setdefault("ctbench, later: all", []).append(seconds(lambda: load_features(folder, names, cache=cache)))
        added = f"ctbench, {ADDED} files more"
        times.setdefault(added, []).append(seconds(lambda: load_features(folder, more, cache=cache)))
    report(f"{count:,} files of {WIDTH} float32, .{kind}, median of {ROUNDS}", times, ours)
    assert (again.files, again.files_read) == (count, 0)


def main() -> None:
    """Make the files, time each kind, and print the peak memory of a first load."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else FILES
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(temporary)
        if not (root / "all.parquet").exists():  # written last
            make_files(root, count)
        time_kind(root, "npz", np_load, count)
        time_kind(root, "pt", torch_load, count)
        ids = [f"train_{i}" for i in range(count)]
        table = [seconds(lambda: load_features(root, ["all.parquet"] * count, ids=ids)) for _ in range(ROUNDS)]
        report(f"{count:,} rows of one Parquet table", {"ctbench": table}, "ctbench")
        command = [sys.executable, "-c", _PEAK, str(root / "npz"), str(root / "peak"), str(count)]
        peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        print(f"\npeak memory of a first load above the imports: {float(peak):.2f} x the matrix")


if __name__ == "__main__":
    main()
