"""Alignments out of reach are refused before any vector is read."""

from __future__ import annotations

import numpy as np
import pytest

from ctbench_core.alignment.engine import align
from ctbench_core.alignment.limits import MAX_PAIRS, refuse_many_pairs
from ctbench_core.errors import InputError


def test_a_million_pairs_of_a_million_are_refused_with_the_arithmetic() -> None:
    vectors = np.broadcast_to(np.float32(1), (1, 512))
    rows = np.zeros(1_000_000, np.int64)
    with pytest.raises(InputError) as refused:
        align(vectors, vectors, rows, image_rows=rows, text_rows=rows)
    text = str(refused.value)
    assert text.startswith("1,000,000 volumes and 1,000,000 reports are 1.0e+12 pairs.")
    assert "2.0e+15 numbers" in text  # 2 directions x 2 operations x 10^12 pairs x 512
    assert "data.cohort.where" in text and "utils.device=cuda" in text


def test_a_gpu_may_rank_more() -> None:
    refuse_many_pairs(1_000_000, 1_000_000, 512, "cuda:1")
    refuse_many_pairs(100_000, 100_000, 512, "cpu")
    with pytest.raises(InputError, match="pairs"):
        refuse_many_pairs(3_000_000, 3_000_000, 512, "cuda")
    assert MAX_PAIRS["cuda"] == 40 * MAX_PAIRS["cpu"]
