"""Benchmarks; like the product they import `ctbench_core` first: it sets how idle threads wait, read as torch loads."""

import ctbench_core  # noqa: F401
