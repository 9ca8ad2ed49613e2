"""What the machine refuses, in words that show a way out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ctbench_core.config import Config
from ctbench_core.errors import RunError


@contextlib.contextmanager
def explained(config: Config) -> Iterator[None]:
    """Turn what the machine refuses into a message with a way out.

    Raises:
        RunError: the disk is full, or memory has run out.
    """
    try:
        yield
    except OSError as error:
        raise RunError(
            f"Writing the run failed: {error}. Free space or mend the folder, then Resume continues from the last checkpoint."
        ) from error
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        batch = config.training.batch_size
        raise RunError(
            f"Out of memory at batch size {batch}. Try training.batch_size={max(1, batch // 2)}, or utils.device=cpu."
        ) from error


def _is_out_of_memory(error: Exception) -> bool:
    """Tell memory errors apart; torch raises its own kind on a GPU and a plain RuntimeError on a CPU."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or "allocate memory" in str(error)
