"""Gaussians in a square grid in which neighbours are alike, so that an image codec can code it: PLAS.

Parallel Linear Assignment Sorting is described in Morgenstern et al., "Compact 3D Scene Representation via
Self-Organizing Gaussian Grids" (ECCV 2024). The grid is low-passed; groups of four cells drawn at random exchange their
Gaussians so that they come closest to the low-passed grid; where that no longer helps, the filter becomes narrower.
"""

from __future__ import annotations

import math
from itertools import permutations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, embedding, interpolate, pad

_WIDEST, _NARROWEST = 0.25, 0.5  # sigma of the filter, in sides of the grid and in cells
_NARROWING = 0.9  # from one filter to the next
_LEAST_GAIN = 1e-3  # of the squared distance to the low-passed grid; where swaps bring less the next filter follows
_REACH = 2.0  # sigmas: side of the squares in which cells are swapped; from farther away few swaps are of use
_SMALLEST_REACH = 4  # cells
_FINEST = 2.0  # cells: a wider filter than that works on a grid that is as much coarser

# The cell that each of four elements goes to [24, 4]; in the first one each stays.
_ORDERS = torch.tensor(list(permutations(range(4))))
_PAIRS = _ORDERS + 4 * torch.arange(4)  # the same among 16 pairs of an element and a cell


def sort_to_grid(features: Tensor, *, seed: int = 0) -> Tensor:
    """Arrange Gaussians in a square grid so that neighbours are alike.

    features: [N, D] floats, on any device; each counts by its spread, so scale them by what a difference costs.

    Returns the Gaussians' indices [side, side] int64, side = ceil(sqrt(N)). Of the cells, row by row, the first N hold
    every Gaussian once, and those after them, which fill up the square, the last one's Gaussian again:
    ``attributes[grid]`` makes planes, ``planes.flatten(0, 1)[:N]`` the Gaussians again, in the order of the grid.

    The same seed gives the same grid on a CPU. Raises ValueError for other shapes and for numbers that are none.
    """
    if features.ndim != 2 or features.shape[1] == 0 or not features.dtype.is_floating_point:
        raise ValueError(f"features must be floats [N, at least 1], got {features.dtype} {list(features.shape)}")
    if not features.isfinite().all():
        raise ValueError("features are infinite or not a number; leave those Gaussians out")
    n = len(features)
    if n == 0:
        return torch.zeros(0, 0, dtype=torch.int64, device=features.device)
    side = math.isqrt(n - 1) + 1
    order = _sort(_normalized(features), side, seed)
    return torch.cat([order, order[-1:].expand(side * side - n)]).view(side, side)


def neighbour_distance(grid: Tensor) -> Tensor:
    """Mean absolute difference [K] between cells of a grid [H, W, K] that lie beside or below each other.

    Zero where there are no such cells.
    """
    grid = grid.double()
    differences = [grid[1:] - grid[:-1], grid[:, 1:] - grid[:, :-1]]
    pairs = sum(d.shape[0] * d.shape[1] for d in differences)
    return sum(d.abs().sum((0, 1)) for d in differences) / max(1, pairs)


def _normalized(features: Tensor) -> Tensor:
    """Features as float32 around zero, none beyond 1."""
    features = features.double()
    features = features - features.mean(0)
    return (features / features.abs().max().clamp(min=torch.finfo(torch.float32).tiny)).float()


@torch.no_grad()
def _sort(features: Tensor, side: int, seed: int) -> Tensor:
    """Indices [N] of features [N, D] in the order of the grid's cells."""
    generator = torch.Generator(features.device).manual_seed(seed)
    order = _start(features, side)
    sigma = _WIDEST * side
    while sigma >= _NARROWEST:
        target = _low_pass(embedding(order, features), side, sigma)
        reach = max(_SMALLEST_REACH, round(_REACH * sigma))
        before, after = 1.0, 0.0
        while after < (1 - _LEAST_GAIN) * before:
            before, after = _swap(features, order, target, _groups(len(order), side, reach, generator))
        sigma *= _NARROWING
    return order


def _start(features: Tensor, side: int) -> Tensor:
    """Rows by the direction in which features vary most, columns by the one in which they vary second most."""
    # On the CPU: a GPU's matrix products torch refuses under use_deterministic_algorithms.
    values = features.cpu().double()
    directions = torch.linalg.eigh(values.T @ values).eigenvectors  # the largest eigenvalue is the last
    along, across = values @ directions[:, -1], values @ directions[:, max(-2, -values.shape[1])]
    rows = torch.empty(len(values), dtype=torch.int64)
    rows[along.argsort(stable=True)] = torch.arange(len(values)) // side
    order = across.argsort(stable=True)
    return order[rows[order].argsort(stable=True)].to(features.device)


def _low_pass(values: Tensor, side: int, sigma: float) -> Tensor:
    """What values [N, D] of the first N cells are after a Gaussian filter of `sigma` cells [N, D]."""
    n = len(values)
    grid = values.new_zeros(side * side, values.shape[1] + 1)
    grid[:n, :-1], grid[:n, -1] = values, 1
    stride = max(1, int(sigma / _FINEST))
    coarse = avg_pool2d(grid.T.view(-1, side, side), stride, ceil_mode=True).permute(1, 2, 0)
    weights = coarse[..., -1]
    means = coarse[..., :-1] / weights[..., None]
    means = _blur(means, weights, sigma / stride, math.ceil(2 * sigma / stride)).permute(2, 0, 1)
    if stride > 1:
        means = interpolate(means[None], scale_factor=stride, mode="bilinear")[0, :, :side, :side]
    return means.flatten(1).T[:n]


def _blur(grid: Tensor, weights: Tensor, sigma: float, radius: int) -> Tensor:
    """Gaussian mean [H, W, K] around every cell of a grid [H, W, K].

    weights: [H, W], from 0 on: what each cell counts; cells of weight 0 hold zeros or NaN. Cells outside count nothing.
    sigma, radius: in cells; the filter is cut off past `radius` along either axis.
    """
    height, width = weights.shape
    weights = weights[..., None]
    sums = torch.cat([torch.where(weights > 0, grid, 0) * weights, weights], 2)
    # No convolution: a GPU's may round to TF32, too coarse for positions.
    taps = [(k, math.exp(-(((k - radius) / sigma) ** 2) / 2)) for k in range(2 * radius + 1)]
    sums = pad(sums, (0, 0, radius, radius, radius, radius))
    sums = sum(tap * sums[k : k + height] for k, tap in taps)
    sums = sum(tap * sums[:, k : k + width] for k, tap in taps)
    return sums[..., :-1] / sums[..., -1:].clamp(min=torch.finfo(grid.dtype).tiny)


def _groups(n: int, side: int, reach: int, generator: torch.Generator) -> Tensor:
    """The first n cells, less up to 3, in groups of four [M, 4], nearly all of them within a square of `reach`."""
    device = generator.device
    cells = torch.randperm(n, generator=generator, device=device)
    down, right = torch.randint(reach, (2,), generator=generator, device=device)
    squares = (cells // side + down) // reach * (side + 1) + (cells % side + right) // reach
    return cells[squares.argsort(stable=True)][: n - n % 4].view(-1, 4)


def _swap(features: Tensor, order: Tensor, target: Tensor, groups: Tensor) -> tuple[float, float]:
    """Put the elements of every group [M, 4] where they are nearest to the target [N, D], in place.

    Returns the sum of squared distances to the target before and after.
    """
    orders, pairs = _ORDERS.to(order.device), _PAIRS.to(order.device)
    cells = groups.T
    elements = order[cells]
    # `embedding` takes rows, ten times as fast as indexing does on a CPU
    placed, wanted = (embedding(i, v).permute(2, 0, 1).contiguous() for i, v in ((elements, features), (cells, target)))
    distances = (placed[:, :, None] - wanted[:, None]).square_().sum(0).flatten(0, 1)  # [16, M] of element and cell
    costs = sum(distances[pair] for pair in pairs.T)  # [24, M]
    least, which = costs.min(0)
    order[cells.gather(0, orders[which].T)] = elements
    return float(costs[0].sum()), float(least.sum())
