"""What the machine refuses, in words that show a way out, and work whose errors end one run alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ctbench_core.config import Config
from ctbench_core.errors import CtbenchError, RunError


class OutOfMemory(RunError):
    """Memory has run out; less of the same work may fit."""


@contextlib.contextmanager
def explained(config: Config) -> Iterator[None]:
    """Turn what the machine refuses into a message with a way out.

    Raises:
        OutOfMemory: memory has run out.
        RunError: the disk is full.
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
        raise OutOfMemory(
            f"Out of memory at batch size {batch}. Try training.batch_size={max(1, batch // 2)}, or utils.device=cpu."
        ) from error


class Guarded:
    """Work on one run; subclasses say what an error of it means."""

    config: Config

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Let an error end this run alone."""
        try:
            with explained(self.config):
                yield
        except CtbenchError as error:
            self.fail(error)

    def fail(self, error: CtbenchError) -> None:
        """End the run with an error."""
        raise NotImplementedError


def _is_out_of_memory(error: Exception) -> bool:
    """Tell memory errors apart; torch raises its own kind on a GPU and a plain RuntimeError on a CPU."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or "allocate memory" in str(error)
