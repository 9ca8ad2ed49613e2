"""Image-text alignment: tiled similarity to exact ranks and histograms, both directions, never N x N."""

from __future__ import annotations

from ctbench_core.alignment.engine import AlignmentResult, align, write_alignment

__all__ = ["AlignmentResult", "align", "write_alignment"]
