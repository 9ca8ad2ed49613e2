"""Simulations of all intervals and tests: designs as data (`tuning.yaml`, `judging.yaml`), one runner, resumable by cell.

    python -m benchmarks.coverage run judging --out judging.jsonl [--repeats 2000] [--shard 0/2]
    python -m benchmarks.coverage again judging --out judging.jsonl    # cells outside, 10,000 repeats on new streams
    python -m benchmarks.coverage table judging --out judging.jsonl

Intervals and p-values are the product's own functions; one repeat in ten has the plain percentiles of a bootstrap beside
them. Rules may be changed by what the tuning grid shows, never by the judging grid.
"""
