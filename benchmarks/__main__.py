"""``python -m benchmarks all`` measures the speed table on this machine, ``scaling`` how cost grows, ``gpu`` one GPU."""

from __future__ import annotations

import sys

from benchmarks import everything


def main() -> None:
    """Run the named form."""
    form, arguments = (sys.argv[1:2] or [""])[0], sys.argv[2:]
    if form == "all":
        everything.main(arguments)
    elif form == "scaling":
        from benchmarks import scaling

        scaling.main(arguments)
    elif form == "gpu":
        from benchmarks import gpu

        gpu.main()
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
