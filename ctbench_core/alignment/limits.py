"""Refuse alignments that would take days, with the arithmetic."""

from __future__ import annotations

from ctbench_core.errors import InputError

# Pairs of one direction: 316,000 x 316,000 take some ten minutes to an hour on a CPU, 2,000,000 x 2,000,000 on a GPU.
MAX_PAIRS = {"cpu": 10**11, "cuda": 4 * 10**12}


def refuse_many_pairs(images: int, texts: int, width: int, device: str) -> None:
    """Refuse to compare every image with every text where that is out of reach.

    Args:
        width: D, dimensions of a vector.

    Raises:
        InputError: there are more pairs than this kind of device can rank.
    """
    kind = device.partition(":")[0]
    most, pairs = MAX_PAIRS.get(kind, MAX_PAIRS["cpu"]), images * texts
    if pairs > most:
        other = "" if kind == "cuda" else " A GPU ranks 40 times as many (utils.device=cuda)."
        raise InputError(
            f"{images:,} volumes and {texts:,} reports are {pairs:.1e} pairs. Both directions together multiply and add "
            f"{4.0 * pairs * width:.1e} numbers; expected at most {most:.0e} pairs here. Align a part of the volumes, by "
            f"data.cohort.where or a shorter manifest.{other} docs/scale.md has the costs."
        )
