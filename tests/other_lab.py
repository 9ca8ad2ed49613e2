"""A folder as another lab has it: its own names, files as dicts, one table of labels with -1 and all splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

FINDINGS = ["Nodule", "Effusion", "Emphysema"]


def write_lab(folder: Path, volumes: int = 40) -> Path:
    """Write ``embeddings/<AccessionNo>.pt`` with the entry ``emb``, and ``labels.tsv.gz``; return the folder.

    Of ten volumes six are for training, two for validation and two for the test; every tenth has an unknown effusion.
    """
    torch = pytest.importorskip("torch")
    draw = np.random.default_rng(3)
    (folder / "embeddings").mkdir(parents=True)
    rows = []
    for i in range(volumes):
        vector, name = draw.normal(size=8), f"RA{100 + i}"
        torch.save({"emb": torch.tensor(vector)[None], "scanner": "A"}, folder / "embeddings" / f"{name}.pt")
        split = "train" if i < 0.6 * volumes else "val" if i < 0.8 * volumes else "test"
        labels = [int(vector[0] > 0), -1 if i % 10 == 7 else int(vector[1] > 0), int(vector[2] > 0)]
        rows.append([name, split, "FM"[i % 2], *labels])
    table = pd.DataFrame(rows, columns=["AccessionNo", "split", "sex", *FINDINGS])
    table.to_csv(folder / "labels.tsv.gz", sep="\t", index=False)
    return folder
