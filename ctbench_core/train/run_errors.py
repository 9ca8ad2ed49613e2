"""Errors of the machine as run errors that say what to do, and work in which an error ends one run only."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ctbench_core.config import Config
from ctbench_core.errors import CtbenchError, HeldError, OutOfMemory, RunError, StorageError, is_out_of_memory


@contextlib.contextmanager
def as_run_error(config: Config) -> Iterator[None]:
    """Raise errors of the machine as run errors that say what to do.

    Raises:
        OutOfMemory: memory ran out.
        RunError: a file could not be written, for instance because the disk is full.
    """
    try:
        yield
    except HeldError:
        raise
    except OSError as error:
        text = f"Writing the run failed: {StorageError.of(error)} Resume then continues from the last checkpoint."
        raise RunError(text) from error
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        batch = config.training.batch_size
        raise OutOfMemory(
            f"Out of memory at batch size {batch}. Try training.batch_size={max(1, batch // 2)}, or utils.device=cpu."
        ) from error


class ErrorIsolation:
    """Base of the work on one run: an error ends that run only, in the way that a subclass's `fail` defines."""

    config: Config

    @contextlib.contextmanager
    def isolate_errors(self) -> Iterator[None]:
        """Pass an error to `fail` instead of raising it."""
        try:
            with as_run_error(self.config):
                yield
        except CtbenchError as error:
            self.fail(error)

    def fail(self, error: CtbenchError) -> None:
        """End the run with an error."""
        raise NotImplementedError
