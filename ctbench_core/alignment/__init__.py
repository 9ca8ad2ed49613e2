"""Image-text alignment: tiled similarity to exact ranks and histograms, both directions, never N x N."""

from ctbench_core.alignment.engine import AlignmentResult, Extras, align, write_alignment

__all__ = ["AlignmentResult", "Extras", "align", "write_alignment"]
