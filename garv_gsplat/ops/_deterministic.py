"""A fixed order for lists and sums, for `torch.use_deterministic_algorithms(True)`.

The CPU's kernels and the reference keep one anyway. On CUDA lists are filled and gradients added by whichever thread
comes first; here lists are sorted, and gradients first written pair by pair. Both wait for the device.
"""

from __future__ import annotations

import torch
from torch import Tensor


def needed(tensor: Tensor) -> bool:
    """Whether a fixed order is asked for and the kernels of the tensor's device do not give it by themselves."""
    return tensor.is_cuda and torch.are_deterministic_algorithms_enabled()


def bin_gaussians(
    means: Tensor,
    cholesky: Tensor,
    cutoffs: Tensor,
    times: Tensor,
    motion: Tensor,
    width: int,
    height: int,
    capacity: int,
) -> tuple[Tensor, Tensor]:
    """The operator; where a fixed order is needed, its lists sorted and complete, whatever `capacity`."""
    arguments = (means, cholesky, cutoffs, times, motion, width, height)
    isect_offsets, flatten_ids = torch.ops.garv.bin_gaussians(*arguments, capacity)
    if not needed(means):
        return isect_offsets, flatten_ids
    # A capacity is learned from numbers that arrive when they arrive: what depends on it differs from run to run.
    pairs = int(isect_offsets[-1])
    if pairs > capacity:
        _, flatten_ids = torch.ops.garv.bin_gaussians(*arguments, pairs)
    return isect_offsets, sort_lists(isect_offsets, flatten_ids[:pairs], len(means))


def sort_lists(isect_offsets: Tensor, flatten_ids: Tensor, num_gaussians: int) -> Tensor:
    """The complete lists [pairs], each in the order of its Gaussians."""
    tiles = torch.arange(len(isect_offsets) - 1, device=flatten_ids.device)
    first_keys = (tiles * num_gaussians).repeat_interleave(isect_offsets.diff(), output_size=len(flatten_ids))
    return ((first_keys + flatten_ids).sort().values - first_keys).int()


def accumulate_bwd(v_image: Tensor, *scene: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The operator `accumulate_bwd`; a Gaussian's pairs are added in the order in which the lists hold them."""
    means, cholesky, colors, cutoffs, times, motion, isect_offsets, flatten_ids = scene
    pairs = int(isect_offsets[-1])
    if pairs > len(flatten_ids):  # not all pairs have a place there, and so none for their gradients
        height, width = v_image.shape[1:3]
        isect_offsets, flatten_ids = bin_gaussians(means, cholesky, cutoffs, times, motion, width, height, pairs)
    rows = torch.ops.garv.accumulate_bwd_pairs(
        v_image, means, cholesky, colors, cutoffs, times, motion, isect_offsets, flatten_ids
    )
    sums = rows.new_zeros(len(means), rows.shape[1])
    # Sorts by Gaussian and adds in order; index_add_ does the same after copying all rows.
    sums.index_put_((flatten_ids[:pairs].long(),), rows[:pairs], accumulate=True)
    return sums[:, :3].contiguous(), sums[:, 3:9].contiguous(), sums[:, 9:].contiguous()
