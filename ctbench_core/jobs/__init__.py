"""Background work: a queue of runs and the thread that trains them."""

from ctbench_core.jobs.runner import JobRunner, get_runner
