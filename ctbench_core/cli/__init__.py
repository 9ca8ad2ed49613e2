"""The command line: ``python -m ctbench_core VERB [key=value ...]``."""
