"""Stacked heads against plain PyTorch: gradients, dropout, state_dicts, and independence of the heads."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ctbench_core.config import Config
from ctbench_core.declared import LOSSES
from ctbench_core.errors import CheckpointError
from ctbench_core.train.batches import ByteStream, stream
from ctbench_core.train.losses import BoundLoss, bind_loss, element_weights, known_labels
from ctbench_core.train.network import Dropout, Mlp
from ctbench_core.train.parameters import StackedParameters

SHAPES = [[6, 3], [6, 8, 3], [6, 8, 5, 3]]
PARTED = [(widths, parts) for widths in SHAPES for parts in (1, 2, 4) if parts == 1 or len(widths) > 2]


class PlainHead(nn.Module):
    """What people load a checkpoint into: Linear, ReLU, Dropout, ..., Linear, named ``network``."""

    def __init__(self, widths: Sequence[int], dropout: float = 0.35) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inner, out in itertools.pairwise(widths[:-1]):
            layers += [nn.Linear(inner, out), nn.ReLU(), nn.Dropout(dropout)]
        self.network = nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)


def bound(loss: str) -> BoundLoss:
    """Return a loss with its default parameters."""
    options = Config().training.loss
    options._target_ = loss
    return bind_loss(options)


def make_stack(
    widths: Sequence[int], seeds: Sequence[int] = (1,), dropout: float = 0.0, parts: int = 1
) -> StackedParameters:
    stack = StackedParameters(Mlp(widths, Dropout(dropout), parts), len(seeds), torch.float64, "cpu")
    for k, seed in enumerate(seeds):
        stack.initialise(k, seed)
    return stack


def draws(stack: StackedParameters, rows: int) -> list[Tensor]:
    """Draw random bytes for each hidden layer, (K, B, H)."""
    source = np.random.default_rng(0)
    return [
        torch.from_numpy(source.integers(0, 256, (len(stack), rows, width), dtype=np.uint8))
        for width in stack.network.hidden
    ]


def split_first(stack: StackedParameters, masks: list[Tensor]) -> list[Tensor]:
    """Split the first layer's bytes into the parts of the network."""
    assert isinstance(stack.network, Mlp)
    return [stack.network.split_units(masks[0][None])[0], *masks[1:]]


def gradient(
    stack: StackedParameters, x: Tensor, y: Tensor, loss: str, pos_weight: Tensor | None, masks: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """Return training logits (1, B, C) and the flat gradient of the mean loss over known labels; the parameters are overwritten."""
    labels, known = known_labels(y[None])
    weights = element_weights(labels, known, pos_weight) / known.sum()
    out = torch.empty_like(labels)
    layers, grads = stack.leading_layers(1)
    stack.network.forward(layers, x[None], masks, out)
    stack.network.backward(layers, bound(loss).gradient(out, labels) * weights, grads)
    stack.flat_KP.copy_(stack.grad_KP)
    return out, torch.cat([tensor.flatten() for tensor in stack.state_dict(0).values()])


def batch(widths: Sequence[int], rows: int = 20) -> tuple[Tensor, Tensor]:
    """Draw inputs (B, D) and targets (B, C) of which a fifth are unknown."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, widths[0], dtype=torch.float64, generator=generator)
    y = torch.randint(0, 2, (rows, widths[-1]), generator=generator).double()
    y[torch.rand(y.shape, generator=generator) < 0.2] = torch.nan
    return x, y


@pytest.mark.parametrize(("widths", "parts"), PARTED)
@pytest.mark.parametrize("loss", sorted(LOSSES))
@pytest.mark.parametrize("weighted", [False, True])
def test_written_out_gradients_are_those_of_autograd(widths: list[int], parts: int, loss: str, weighted: bool) -> None:
    stack, (x, y) = make_stack(widths, parts=parts), batch(widths)
    plain = PlainHead(widths).double().eval()
    plain.load_state_dict(stack.state_dict(0))
    pos_weight = torch.tensor([0.5, 1.0, 7.0], dtype=torch.float64) if weighted else None
    _, actual = gradient(stack, x, y, loss, pos_weight, [])

    known = ~torch.isnan(y)
    values = bound(loss).values(plain(x), torch.nan_to_num(y))
    values = values if pos_weight is None else torch.where(y > 0, pos_weight, 1.0) * values
    values[known].mean().backward()
    expected = torch.cat([p.grad.flatten() for p in plain.parameters() if p.grad is not None])
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("widths", "parts"), [(widths, parts) for widths, parts in PARTED if len(widths) > 2])
def test_gradients_go_through_the_units_that_dropout_kept(widths: list[int], parts: int) -> None:
    """Autograd over the same masks."""
    stack, (x, y) = make_stack(widths, dropout=0.4, parts=parts), batch(widths)
    plain = PlainHead(widths).double()
    plain.load_state_dict(stack.state_dict(0))
    masks = draws(stack, len(x))
    logits, actual = gradient(stack, x, y, "bce", None, split_first(stack, masks))

    linears = [layer for layer in plain.network if isinstance(layer, nn.Linear)]
    a = x
    for layer, mask in zip(linears[:-1], masks):
        on = mask[0] >= 256 - round(0.6 * 256)
        a = torch.relu(layer(a)) * on * 256 / round(0.6 * 256)
    out = linears[-1](a)
    torch.testing.assert_close(logits[0], out, rtol=0, atol=1e-12)
    known = ~torch.isnan(y)
    nn.functional.binary_cross_entropy_with_logits(out[known], y[known]).backward()
    expected = torch.cat([p.grad.flatten() for p in plain.parameters() if p.grad is not None])
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("dropout", [0.0, 0.001, 0.1, 0.35, 0.5, 0.9])
def test_dropout_silences_its_share_and_keeps_the_mean(dropout: float) -> None:
    drawn = torch.from_numpy(ByteStream(0, "dropout", 1).draw(400, 1024).copy())
    mask = Dropout(dropout).mask(drawn, torch.float32) if dropout else torch.ones(400, 1024)
    silenced = float((mask == 0).double().mean())
    # One byte decides a unit, so the share is a multiple of 1/256; 409,600 draws leave 5 sd below .004.
    assert silenced == pytest.approx(dropout, abs=1 / 512 + 0.004)
    assert float(mask.double().mean()) == pytest.approx(1.0, abs=0.02)
    assert len(torch.unique(mask)) == (2 if dropout > 1 / 512 else 1)


@pytest.mark.parametrize(("widths", "parts"), PARTED)
def test_parts_do_not_change_what_is_read_and_written(widths: list[int], parts: int) -> None:
    """Weights, logits and both conversions of the order are those of a stack without parts."""
    stack, other = make_stack(widths, parts=parts), make_stack(widths)
    x, _ = batch(widths)
    for name, tensor in other.state_dict(0).items():
        torch.testing.assert_close(stack.state_dict(0)[name], tensor, rtol=0, atol=0)
    torch.testing.assert_close(stack.logits(x), other.logits(x), rtol=0, atol=1e-12)
    torch.testing.assert_close(stack.to_canonical(stack.flat_KP), other.flat_KP, rtol=0, atol=0)
    torch.testing.assert_close(stack.to_parts(other.flat_KP), stack.flat_KP, rtol=0, atol=0)
    stack.load_state_dict(0, make_stack(widths, seeds=(2,)).state_dict(0))
    torch.testing.assert_close(stack.logits(x), make_stack(widths, seeds=(2,)).logits(x), rtol=0, atol=1e-12)


def test_state_dict_gives_the_same_logits_in_plain_pytorch() -> None:
    for widths in SHAPES:
        stack, (x, _) = make_stack(widths, seeds=(1, 2)), batch(widths)
        for k in range(2):
            plain = PlainHead(widths).double().eval()
            plain.load_state_dict(stack.state_dict(k), strict=True)
            torch.testing.assert_close(stack.logits(x)[k], plain(x).detach(), rtol=0, atol=1e-12)


def test_plain_state_dict_loads_into_the_stack_and_back() -> None:
    plain = PlainHead([6, 8, 3]).double()
    stack = make_stack([6, 8, 3], seeds=(1, 2))
    before = stack.state_dict(0)
    stack.load_state_dict(1, plain.state_dict())
    for name, tensor in plain.state_dict().items():
        assert torch.equal(stack.state_dict(1)[name], tensor)
    assert all(torch.equal(before[name], tensor) for name, tensor in stack.state_dict(0).items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s.update({"network.0.weight": torch.zeros(8, 7)}),
            r"network.0.weight needs shape \(8, 6\), found shape \(8, 7\)",
        ),
        (lambda s: s.pop("network.3.bias"), r"network.3.bias needs shape \(3,\), found no such layer"),
        (
            lambda s: s.update({"network.6.weight": torch.zeros(1, 3)}),
            r"does not fit the head, which has no layers network.6.weight",
        ),
    ],
)
def test_state_of_another_shape_names_the_layer(change, message: str) -> None:  # type: ignore[no-untyped-def]
    state = make_stack([6, 8, 3]).state_dict(0)
    change(state)
    with pytest.raises(CheckpointError, match=message):
        make_stack([6, 8, 3]).load_state_dict(0, state)


def test_a_head_starts_the_same_whatever_its_neighbours() -> None:
    alone, together = make_stack([6, 8, 3], seeds=(5,)), make_stack([6, 8, 3], seeds=(9, 5, 5))
    for name, tensor in alone.state_dict(0).items():
        assert torch.equal(together.state_dict(1)[name], tensor)
        assert torch.equal(together.state_dict(2)[name], tensor)
        assert not torch.equal(together.state_dict(0)[name], tensor)


def test_weights_start_as_linear_layers_do() -> None:
    """Uniform within 1/sqrt(fan-in), as torch.nn.Linear: same bound, same spread."""
    state = make_stack([400, 300, 3]).state_dict(0)
    for name, fan_in in (("network.0.weight", 400), ("network.0.bias", 400), ("network.3.weight", 300)):
        values, bound = state[name].flatten().numpy(), fan_in**-0.5
        assert np.abs(values).max() <= bound
        assert values.std() == pytest.approx(bound / 3**0.5, rel=0.1)


def test_streams_are_keyed_by_seed_purpose_and_epoch() -> None:
    def draw(*key: object) -> list[float]:
        return torch.rand(3, generator=stream(*key)).tolist()  # type: ignore[arg-type]

    keys = [(1, "init"), (2, "init"), (1, "batches"), (1, "init", 1), (1, "init", 11), (11, "init", 1)]
    drawn = [tuple(draw(*key)) for key in keys]
    assert len(set(drawn)) == len(keys)
    assert [tuple(draw(*key)) for key in reversed(keys)] == drawn[::-1]
    state = copy.deepcopy(torch.get_rng_state())
    draw(1, "init")
    assert torch.equal(torch.get_rng_state(), state)
