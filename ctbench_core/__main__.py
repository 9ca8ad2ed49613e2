"""Entry point of ``python -m ctbench_core``."""

import sys

from ctbench_core.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
