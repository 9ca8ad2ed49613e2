"""Two modalities weighed against each other for each volume, before the first non-linearity.

z = g * (W_v v + b_v) + (1 - g) * (W_t t + b_t), with g = sigmoid(W_g [v, t] + b_g): one weight a volume, or one for
each unit of z (Arevalo et al., Gated Multimodal Units, ICLR workshop 2017, with the gate ahead of the activation so
that standardisation folds into the weights). z is the first hidden layer, or the logits where there is none.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from ctbench_core.train.network import Dropout, Layer, Network, Shape


class Gated(Network):
    """A head on visual and text features side by side; gradients come from autograd."""

    def __init__(self, parts: Sequence[int], widths: Sequence[int], gate: int, dropout: Dropout) -> None:
        super().__init__(dropout if len(widths) > 1 else Dropout(0))
        visual, text = parts
        first = widths[0]
        self.hidden = list(widths[:-1])
        self.shapes = [Shape("visual", visual, first), Shape("text", text, first), Shape("gate", visual + text, gate)]
        later = enumerate(itertools.pairwise(widths), start=1)
        self.shapes += [Shape(f"network.{3 * i}", a, b) for i, (a, b) in later]
        self.reads = {"visual": slice(0, visual), "text": slice(visual, None), "gate": slice(None)}

    def logits(self, layers: Sequence[Layer], x_KBD: Tensor, masks: Sequence[Tensor] = ()) -> Tensor:
        visual, text, gate = (
            torch.baddbmm(bias, x_KBD[..., self.reads[name]], weight)
            for name, (weight, bias) in zip(("visual", "text", "gate"), layers)
        )
        share = torch.sigmoid(gate)
        a = share * visual + (1 - share) * text
        for i, (weight, bias) in enumerate(layers[3:]):
            a = torch.relu(a)
            a = a * masks[i] if masks else a
            a = torch.baddbmm(bias, a, weight)
        return a
