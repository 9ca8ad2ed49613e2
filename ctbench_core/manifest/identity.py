"""Digest what makes a set of labelled volumes the same set: its volumes, its findings and its labels.

Neither the order of rows or columns nor a file's name or path counts.

Shapes: N volumes, C findings.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_LENGTH = 32  # hexadecimal digits: 128 bits


@dataclass(frozen=True)
class TableIdentity:
    """Digests of N labelled volumes; equal digests mean equal content.

    Attributes:
        volumes: of the volume names.
        findings: of the findings' names.
        labels: of the labels, each of a volume and finding; unknown is a value of its own.
        order: int64 (N,): the rows in the order of their volume names.
    """

    volumes: str
    findings: str
    labels: str
    order: np.ndarray

    @property
    def id(self) -> str:
        """The identity of the set: of its volumes, findings and labels together."""
        return set_id(self.volumes, self.findings, self.labels)


def identity_of(volumes: np.ndarray, labels: Sequence[str], targets: np.ndarray) -> TableIdentity:
    """Return the identity of volumes (N,) with targets in {0, 1, NaN}, shape (N, C), of these findings."""
    names = [str(name) for name in volumes]
    columns = sorted(range(len(labels)), key=list(labels).__getitem__)
    codes = label_codes(targets)[:, columns]
    rows = sorted(range(len(names)), key=names.__getitem__)
    if len(set(names)) < len(names):  # only tables of predictions without volume names
        rows.sort(key=lambda row: (names[row], codes[row].tobytes()))
    order = np.array(rows, dtype=np.int64)
    return TableIdentity(
        volumes=digest_text([names[row] for row in rows]),
        findings=digest_text([labels[column] for column in columns]),
        labels=digest_bytes(codes[order].tobytes()),
        order=order,
    )


def set_id(volumes: str, findings: str, labels: str) -> str:
    """Return the identity of a set from the digests of its volumes, findings and labels."""
    return digest_text([volumes, findings, labels])


def label_codes(targets: np.ndarray) -> np.ndarray:
    """Return targets as uint8 of the same shape: 0, 1, and 2 for unknown."""
    return np.where(np.isnan(targets), 2, targets).astype(np.uint8)


def digest_text(texts: Sequence[str]) -> str:
    """Return the digest of texts in their order."""
    return digest_bytes(json.dumps(texts).encode())  # JSON quotes each text: no two lists read the same


def digest_bytes(content: bytes) -> str:
    """Return the digest of bytes."""
    return hashlib.sha256(content).hexdigest()[:_LENGTH]
