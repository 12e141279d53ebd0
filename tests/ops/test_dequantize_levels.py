"""Whole numbers to Gaussians: the kernel against the reference, and what it refuses."""

from __future__ import annotations

import pytest
import torch

from garv_gsplat import ops
from garv_gsplat.ops._reference_decode import dequantize_levels as reference


def levels(count: int, channels: int, layers: int = 3) -> list:
    """The operator's arguments, as random as a file may have them."""
    generator = torch.Generator().manual_seed(count + channels)

    def numbers(low: int, high: int, *shape: int) -> torch.Tensor:
        return torch.randint(low, high, shape, generator=generator)

    axes = torch.randn(channels, channels, dtype=torch.float64, generator=generator)
    steps = torch.stack([numbers(1, 1 << 14, layers), numbers(1, 1 << 14, layers)], 1)
    shapes, colors = numbers(-60, 60, 6, count).int(), numbers(-2000, 2000, channels, count).int()
    exponents, positions = numbers(-20, 21, 3, count), numbers(-(1 << 40), 1 << 40, 3, count)
    return [numbers(0, layers, count), shapes, colors, exponents, positions, steps, axes, 0.14]


@pytest.mark.parametrize("count", [0, 1, 5000])
@pytest.mark.parametrize("channels", [1, 3, 8])
def test_the_kernel_agrees_with_the_reference(count, channels):
    arguments = levels(count, channels)
    for found, expected in zip(ops.dequantize_levels(*arguments), reference(*arguments)):
        assert found.dtype == torch.float32 and found.is_contiguous()
        torch.testing.assert_close(found, expected, rtol=2e-7, atol=1e-6)


def test_means_are_exact():
    """Half a step further than the position, rounded once."""
    arguments = levels(2000, 3)
    exponents, positions = arguments[3:5]
    means = ops.dequantize_levels(*arguments)[0]
    expected = [[(p + 0.5) * 2.0**e for p, e in zip(*column)] for column in zip(positions.tolist(), exponents.tolist())]
    assert torch.equal(means, torch.tensor(expected, dtype=torch.float64).T.float())


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, torch.full((4,), 3), "layer must be 0 to below 3"),
        (0, torch.full((4,), -1), "layer must be 0 to below 3"),
        (1, torch.zeros(6, 5, dtype=torch.int32), r"shapes must be int32 \[6, 4\]"),
        (1, torch.zeros(6, 4), "shapes must be int32"),
        (2, torch.zeros(9, 4, dtype=torch.int32), r"colors must be \[1 to 8, N\]"),
        (3, torch.zeros(2, 4, dtype=torch.int64), "exponents must have 3 rows, got 2"),
        (4, torch.zeros(3, 3, dtype=torch.int64), "positions must have rows of 4 numbers"),
        (5, torch.zeros(3, dtype=torch.int64), "steps must have rows of 2 numbers"),
        (6, torch.zeros(2, 3, dtype=torch.float64), "axes must have 3 rows of 3"),
    ],
)
def test_the_kernel_guards_its_memory(place, value, message):
    assert ops.serving()["CPU"] == "compiled", "there is no kernel to test: build the library"
    arguments = levels(4, 3)
    arguments[place] = value
    with pytest.raises(RuntimeError, match=message):
        torch.ops.garv.dequantize_levels(*arguments)


def test_opcheck():
    torch.library.opcheck(torch.ops.garv.dequantize_levels.default, tuple(levels(20, 3)))
