"""Expected figures of a query whose candidates tie, each order of a tie being equally likely.

A tied block is (above, tied, relevant): the candidates ranked strictly above it, its own size t, and
the relevant among them, r. Blocks without a tie have t = r = 1 and give the usual definitions.
Source: McSherry and Najork, "Computing information retrieval performance measures efficiently in the
presence of tied scores", ECIR 2008. Functions of a first block take int arrays (Q,), return float64 (Q,).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor


def hit_probability(above: np.ndarray, tied: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """Return the chance that a relevant candidate of the first block stands in the top k.

    1 - C(t - r, x) / C(t, x) with x = k - above places inside the block (hypergeometric). With
    above = 0 and the whole gallery as the block it is the chance level of Recall@k.
    """
    places = np.clip(k - above, 0, tied)
    (places, tied, relevant), inverse = _distinct(places, tied, relevant)
    miss = np.ones(len(places))
    for i in range(int(places.max(initial=0))):
        left = np.maximum(tied - relevant - i, 0) / np.maximum(tied - i, 1)
        miss = np.where(i < places, miss * left, miss)
    return (1.0 - miss)[inverse]


def expected_reciprocal_rank(above: np.ndarray, tied: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Return E[1 / rank] of the first relevant candidate of the first block.

    The first of r relevant among t stands at place j with probability C(t - j, r - 1) / C(t, r).
    """
    (above, tied, relevant), inverse = _distinct(above, tied, relevant)
    probability = relevant / np.maximum(tied, 1)
    expected = np.zeros(len(above))
    for place in range(1, int((tied - relevant).max(initial=0)) + 2):
        expected += probability / (above + place)
        left = np.maximum(tied - place - relevant + 1, 0)
        probability = probability * left / np.maximum(tied - place, 1)
    return expected[inverse]


def expected_first_rank(above: np.ndarray, tied: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Return the expected rank of the first relevant candidate: above + (t + 1) / (r + 1)."""
    return above + (tied + 1) / (relevant + 1)


def precision_sum(
    above: Tensor, tied: Tensor, relevant: Tensor, seen: Tensor, harmonic: Tensor, places: Tensor | None = None
) -> Tensor:
    """Return a block's expected sum of precisions at its relevant places, given ``seen`` relevant above.

    sum over i = 1..p of r/t * (seen + 1 + (i - 1) (r - 1)/(t - 1)) / (above + i), in closed form by
    harmonic[n] = 1 + 1/2 + ... + 1/n; p is ``places``, by default the whole block's t. Tensors: int (B,), and
    float64 (n + 1,); returns float64 (B,).
    """
    places = tied if places is None else places
    size, hits = tied.double(), relevant.double()  # Torch divides whole numbers in float32
    slope = (hits - 1) / (size - 1).clamp(min=1)
    constant = seen + 1 - slope * (1 + above)
    return hits / size * (slope * places + constant * (harmonic[above + places] - harmonic[above]))


def prefix_sums(n: int, term: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return [0, term(1), term(1) + term(2), ...] up to n, summed in extended precision where there is one."""
    terms = term(np.arange(1, n + 1, dtype=np.float64)).astype(np.longdouble)
    return np.concatenate([[0.0], np.cumsum(terms)]).astype(np.float64)


def _distinct(*columns: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the distinct rows of int columns, and where each row went: most queries share a few blocks."""
    sizes = tuple(int(column.max(initial=0)) + 1 for column in columns)
    _, first, inverse = np.unique(np.ravel_multi_index(columns, sizes), return_index=True, return_inverse=True)
    return [column[first] for column in columns], inverse
