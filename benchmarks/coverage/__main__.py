"""The command line of the simulations; see the package."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

import benchmarks.coverage as package
from benchmarks.coverage.designs import GRIDS, read_designs
from benchmarks.coverage.runner import AGAIN, FIRST, Store, run
from benchmarks.coverage.table import parts_outside, rows_of, tables

REPEATS = {"run": 2000, "again": 10_000}


def main() -> None:
    parser = argparse.ArgumentParser(description=package.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "again", "table"])
    parser.add_argument("grid", choices=list(GRIDS))
    parser.add_argument("--out", type=Path, nargs="+", required=True, help="one file a process; table reads several")
    parser.add_argument("--repeats", type=int, help="run: 2,000; again: 10,000")
    parser.add_argument("--shard", default="0/1", help="i/n: every n-th batch, for n processes side by side")
    parser.add_argument("--seconds", type=float, default=np.inf, help="stop after this time; run again to go on")
    parser.add_argument("--only", nargs="+", help="names of designs")
    args = parser.parse_args()
    designs = [one for one in read_designs(GRIDS[args.grid]) if not args.only or one.name in args.only]
    if args.what == "table":
        sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
        print(tables(rows_of(Store(args.out), designs)), end="")
        return
    stream, parts = FIRST, None
    if args.what == "again":
        parts = parts_outside(Store(args.out), designs)
        designs, stream = [one for one in designs if one.name in parts], AGAIN
    shard = tuple(int(part) for part in args.shard.split("/"))
    is_done = run(args.out[0], designs, args.repeats or REPEATS[args.what], stream, shard, args.seconds, parts)  # type: ignore[arg-type]
    print("done" if is_done else "time is up: run again to go on")


if __name__ == "__main__":
    main()
