"""How much a file may unpack to: decided here for tables, archives and feature files, before they fill the memory."""

from __future__ import annotations

import os

from ctbench_core.errors import ConfigError

SETTING = "CTBENCH_MAX_MIB"
# A manifest of 47,149 volumes has 5 MB of text. Reading a table takes five times its text, so 1.3 GiB at most.
_DEFAULT_MIB = 256
# Deflate reaches 1,000:1 on zeros; embeddings 1.1:1, tables of labels and names 30:1.
_SMALL, _MOST_RATIO = 2**26, 200
_BYTES_A_VALUE = 8  # an offset of Arrow


def most_bytes() -> int:
    """Return how many bytes a table, or the array of a compressed file of one volume, may have; CTBENCH_MAX_MIB sets it.

    Raises:
        ConfigError: the setting is not a whole number.
    """
    text = os.environ.get(SETTING, "").strip() or str(_DEFAULT_MIB)
    if not text.isdecimal() or not int(text):
        raise ConfigError(f"{SETTING} is {text!r}; expected a whole number of MiB, such as {_DEFAULT_MIB}.")
    return int(text) << 20


def most_values() -> int:
    """Return how many values a table may have: one every eight bytes of its largest size."""
    return most_bytes() // _BYTES_A_VALUE


def refusal(unpacked: int, packed: int, *, is_matrix: bool = False) -> str:
    """Return why a file may not be unpacked, as the end of a sentence about it; empty if it may.

    Args:
        is_matrix: it holds the vectors of many volumes, which only the ratio bounds.
    """
    most = most_bytes()
    if unpacked > most and not is_matrix:
        return f"unpacks to {unpacked:,} bytes or more, above the limit of {most:,}. {raise_limit(unpacked)}"
    trusted = most if os.environ.get(SETTING, "").strip() else _SMALL
    if unpacked > max(trusted, _MOST_RATIO * packed):
        return (
            f"would unpack from {packed:,} to {unpacked:,} bytes or more, over {_MOST_RATIO} times as many, as only a "
            f"damaged or hostile file does. Save it again. {raise_limit(unpacked)}"
        )
    return ""


def raise_limit(size: int) -> str:
    """Return the advice to set the limit to at least ``size`` bytes."""
    return f"Set {SETTING}={-(-size >> 20)} or more to read it all the same, in a terminal before ctbench starts."
