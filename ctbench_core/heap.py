"""Return freed memory to the system, and keep a process that lives for weeks from holding much of it.

glibc keeps what threads have freed: in up to eight arenas a core, each with holes between what is still in use. A server
trains in one thread and draws pages in others, and its holes grow for hours. On other C libraries nothing is changed.
"""

from __future__ import annotations

import ctypes
import sys

_ARENA_MAX, _ARENAS = -8, 2  # of mallopt(3); two arenas are enough for threads that mostly wait for the interpreter


def limit_arenas() -> None:
    """Let all threads allocate from two arenas; call it before they are started."""
    library = _glibc()
    if library is not None:
        library.mallopt(_ARENA_MAX, _ARENAS)


def trim_heap() -> None:
    """Return freed memory to the system, that of Arrow too."""
    if "pyarrow" in sys.modules:
        sys.modules["pyarrow"].default_memory_pool().release_unused()
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    return library if hasattr(library, "malloc_trim") else None
