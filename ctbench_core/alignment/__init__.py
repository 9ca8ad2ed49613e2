"""Image-text alignment: tiled similarity to exact ranks and histograms, both directions, never N x N."""

from ctbench_core.alignment.engine import AlignmentOptions, AlignmentResult, align, write_alignment
