"""Names, signatures, fake kernels and gradients of the operators, defined once, whichever library serves them."""

from __future__ import annotations

import torch
from torch import Tensor

from garv_gsplat.ops import _reference

_GEOMETRY = "Tensor means, Tensor cholesky"
_TILES = "Tensor cutoffs, Tensor times, Tensor isect_offsets, Tensor flatten_ids"

torch.library.define(
    "garv::bin_gaussians",
    f"({_GEOMETRY}, Tensor cutoffs, Tensor times, int width, int height, int capacity) -> (Tensor, Tensor)",
)
torch.library.define("garv::accumulate", f"({_GEOMETRY}, Tensor colors, {_TILES}, int width, int height) -> Tensor")
torch.library.define(
    "garv::accumulate_bwd", f"(Tensor v_image, {_GEOMETRY}, Tensor colors, {_TILES}) -> (Tensor, Tensor, Tensor)"
)

for _name in ("bin_gaussians", "accumulate", "accumulate_bwd"):
    # Kernels of the compiled libraries are registered for one backend and win over this key.
    torch.library.impl(f"garv::{_name}", "CompositeExplicitAutograd")(getattr(_reference, _name))


@torch.library.register_fake("garv::bin_gaussians")
def _(means, cholesky, cutoffs, times, width, height, capacity):
    tiles_x, tiles_y = _reference.tile_grid(width, height)
    offsets = means.new_empty(len(times) * tiles_x * tiles_y + 1, dtype=torch.int64)
    return offsets, means.new_empty(capacity, dtype=torch.int32)


@torch.library.register_fake("garv::accumulate")
def _(means, cholesky, colors, cutoffs, times, isect_offsets, flatten_ids, width, height):
    return colors.new_empty(len(times), height, width, colors.shape[1])


@torch.library.register_fake("garv::accumulate_bwd")
def _(v_image, means, cholesky, colors, cutoffs, times, isect_offsets, flatten_ids):
    return torch.empty_like(means), torch.empty_like(cholesky), torch.empty_like(colors)


def _setup_context(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs[:7])


def _backward(ctx, v_image: Tensor):
    gradients = torch.ops.garv.accumulate_bwd(v_image.contiguous(), *ctx.saved_tensors)
    return (*gradients, None, None, None, None, None, None)


torch.library.register_autograd("garv::accumulate", _backward, setup_context=_setup_context)
