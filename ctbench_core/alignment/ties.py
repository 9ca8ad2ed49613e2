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
    triples, inverse = np.unique(np.stack([places, tied, relevant]), axis=1, return_inverse=True)
    places, tied, relevant = triples
    miss = np.ones(triples.shape[1])
    for i in range(int(places.max(initial=0))):
        left = np.maximum(tied - relevant - i, 0) / np.maximum(tied - i, 1)
        miss = np.where(i < places, miss * left, miss)
    return (1.0 - miss)[inverse.reshape(-1)]


def expected_reciprocal_rank(above: np.ndarray, tied: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Return E[1 / rank] of the first relevant candidate of the first block.

    The first of r relevant among t stands at place j with probability C(t - j, r - 1) / C(t, r).
    """
    triples, inverse = np.unique(np.stack([above, tied, relevant]), axis=1, return_inverse=True)
    above, tied, relevant = triples
    probability = relevant / np.maximum(tied, 1)
    expected = np.zeros(triples.shape[1])
    for place in range(1, int((tied - relevant).max(initial=0)) + 2):
        expected += probability / (above + place)
        left = np.maximum(tied - place - relevant + 1, 0)
        probability = probability * left / np.maximum(tied - place, 1)
    return expected[inverse.reshape(-1)]


def expected_first_rank(above: np.ndarray, tied: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Return the expected rank of the first relevant candidate: above + (t + 1) / (r + 1)."""
    return above + (tied + 1) / (relevant + 1)


def precision_sum(above: Tensor, tied: Tensor, relevant: Tensor, seen: Tensor, harmonic: Tensor) -> Tensor:
    """Return a block's expected sum of precisions at its relevant places, given ``seen`` relevant above.

    sum over i = 1..t of r/t * (seen + 1 + (i - 1) (r - 1)/(t - 1)) / (above + i), in closed form by
    harmonic[n] = 1 + 1/2 + ... + 1/n. Tensors: int (B,), and float64 (n + 1,); returns float64 (B,).
    """
    slope = (relevant - 1) / (tied - 1 + (tied == 1))
    constant = seen + 1 - slope * (1 + above)
    return relevant / tied * (slope * tied + constant * (harmonic[above + tied] - harmonic[above]))


def prefix_sums(n: int, term: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return [0, term(1), term(1) + term(2), ...] up to n, summed in extended precision where there is one."""
    terms = term(np.arange(1, n + 1, dtype=np.float64)).astype(np.longdouble)
    return np.concatenate([[0.0], np.cumsum(terms)]).astype(np.float64)
