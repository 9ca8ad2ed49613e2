"""Image-text alignment: tiled similarity to exact ranks and histograms, in both directions, never N x N in memory."""

from ctbench_core.alignment.engine import AlignmentOptions, align
from ctbench_core.alignment.job import queue_alignment, run_alignment
from ctbench_core.alignment.result import AlignmentResult, write_alignment
