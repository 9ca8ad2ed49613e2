"""A head that is a plain torch module: trained by autograd, one head a stack, by the same streams and files as others.

Shape suffixes: B batch rows, D features, C findings, P parameters.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ctbench_core.config import ModelParams
from ctbench_core.errors import ConfigError
from ctbench_core.train.inputs import Scaler
from ctbench_core.train.network import Dropout, Layer, Network

SHIFT, SCALE = "standardise.shift", "standardise.scale"  # z-scores of the features, beside the module's own tensors
_SEED_BYTES = 8


class ModuleNetwork(Network):
    """The network of one module; its random draws are those of the run's streams, whatever the module draws."""

    def __init__(
        self, build: Callable[[ModelParams, int, int], nn.Module], params: ModelParams, features: int, findings: int
    ) -> None:
        super().__init__(Dropout(0))
        self._build = lambda: build(params, features, findings)
        self.hidden, self.input_slices, self.shapes = [], {}, []
        self.module = self._build().eval()
        if buffers := [name for name, _ in self.module.named_buffers()]:
            raise ConfigError(
                f"Head {type(self.module).__name__} has buffers ({', '.join(buffers)}), which are neither trained nor "
                "stored. Use layers without running statistics, such as LayerNorm for BatchNorm."
            )
        self._shapes = {name: parameter.shape for name, parameter in self.module.named_parameters()}

    @property
    def draw_widths(self) -> list[int]:
        """The bytes of a seed: the first row's seed the draws of its step."""
        return [_SEED_BYTES]

    @property
    def size(self) -> int:
        return sum(math.prod(shape) for shape in self._shapes.values())

    def layers(self, flat_KP: Tensor) -> list[Layer]:
        parts = flat_KP.split([math.prod(shape) for shape in self._shapes.values()], dim=1)
        return [(part.view(len(flat_KP), *shape),) for part, shape in zip(parts, self._shapes.values())]

    def tensors(self, flat_P: Tensor) -> dict[str, Tensor]:
        return {name: view[0] for name, (view,) in zip(self._shapes, self.layers(flat_P.unsqueeze(0)))}

    def initialise(self, tensors: Mapping[str, Tensor], generator: torch.Generator) -> None:
        """Draw the parameters of one head as its class does when it is made."""
        with _seeded(generator.initial_seed(), "cpu"):
            module = self._build()
        for name, parameter in module.named_parameters():
            tensors[name].copy_(parameter.detach())

    def stored(self, state: dict[str, Tensor], scaler: Scaler | None) -> dict[str, Tensor]:
        """Return a state_dict with the z-scores beside it: nothing is known of the layers that read the features."""
        if scaler is None:
            return state
        return {**state, SHIFT: scaler.shift.cpu().clone(), SCALE: scaler.scale.cpu().clone()}

    def logits(self, layers: Sequence[Layer], x_KBD: Tensor, masks: Sequence[Tensor] = ()) -> Tensor:
        parameters = {name: view[0] for name, (view,) in zip(self._shapes, layers)}
        logits: Tensor = functional_call(self.module, parameters, (x_KBD[0],))
        return logits.unsqueeze(0)

    def forward(self, layers: Sequence[Layer], x_KBD: Tensor, draws: Sequence[Tensor], out_KBC: Tensor) -> None:
        seed = int.from_bytes(bytes(draws[0][0, 0].tolist()), "little") >> 1
        self.module.train()
        with _seeded(seed, x_KBD.device.type):
            super().forward(layers, x_KBD, (), out_KBC)
        self.module.eval()


@contextlib.contextmanager
def _seeded(seed: int, device: str) -> Iterator[None]:
    """Let torch's own generators draw from a seed, and put them back."""
    with torch.random.fork_rng(devices=None if device == "cuda" else []):
        torch.manual_seed(seed)
        yield
