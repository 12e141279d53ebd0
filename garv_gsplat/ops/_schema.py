"""Names, signatures, fake kernels and gradients of the operators, defined once, whichever library serves them."""

from __future__ import annotations

import torch
from torch import Tensor

from garv_gsplat.ops import _deterministic, _reference, _reference_draw, _reference_regions

_GEOMETRY = "Tensor means, Tensor cholesky"
_GAUSSIANS = f"{_GEOMETRY}, Tensor colors"
_OTHERS = "Tensor other_means, Tensor other_cholesky, Tensor other_colors, Tensor other_weights"
_TILES = "Tensor cutoffs, Tensor times, Tensor isect_offsets, Tensor flatten_ids"

torch.library.define(
    "garv::bin_gaussians",
    f"({_GEOMETRY}, Tensor cutoffs, Tensor times, int width, int height, int capacity) -> (Tensor, Tensor)",
)
torch.library.define("garv::accumulate", f"({_GEOMETRY}, Tensor colors, {_TILES}, int width, int height) -> Tensor")
torch.library.define(
    "garv::accumulate_bwd", f"(Tensor v_image, {_GEOMETRY}, Tensor colors, {_TILES}) -> (Tensor, Tensor, Tensor)"
)
# Gradients [capacity, 9 + C] of every entry of the lists: of its mean, Cholesky factor and colour. Zeros for the tiles
# whose lists did not fit.
torch.library.define("garv::accumulate_bwd_pairs", f"(Tensor v_image, {_GEOMETRY}, Tensor colors, {_TILES}) -> Tensor")

torch.library.define(
    "garv::draw",
    "(Tensor records, Tensor chunks, int levels, int channels, float tau, Tensor times, int left, int top, int width, "
    "int height, int room, bool as_float) -> (Tensor, Tensor)",
)

torch.library.define(
    "garv::adam_step",
    "(Tensor(a!) rows, Tensor gradient, Tensor(b!) exp_avg, Tensor(c!) exp_avg_sq, Tensor(d!) steps, Tensor rates, "
    "float beta1, float beta2, float eps, bool visible_only) -> ()",
)

torch.library.define(
    "garv::crop_gaussians",
    f"({_GAUSSIANS}, int[] size, int[] low, int[] high, float threshold) -> (Tensor, Tensor, Tensor)",
)
torch.library.define("garv::join_weighted", f"({_GAUSSIANS}, Tensor weights, {_OTHERS}) -> (Tensor, Tensor, Tensor)")
torch.library.define(
    "garv::region_weights", f"({_GEOMETRY}, Tensor boxes, Tensor spread, float narrower, float feather) -> Tensor"
)
torch.library.define("garv::typical_spread", "(Tensor cholesky) -> Tensor")

for _name, _module in {
    "bin_gaussians": _reference,
    "accumulate": _reference,
    "accumulate_bwd": _reference,
    "accumulate_bwd_pairs": _reference,
    "draw": _reference_draw,
    "adam_step": _reference,
    "crop_gaussians": _reference_regions,
    "join_weighted": _reference_regions,
    "region_weights": _reference_regions,
    "typical_spread": _reference_regions,
}.items():
    # Kernels of the compiled libraries are registered for one backend and win over this key.
    torch.library.impl(f"garv::{_name}", "CompositeExplicitAutograd")(getattr(_module, _name))


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


@torch.library.register_fake("garv::accumulate_bwd_pairs")
def _(v_image, means, cholesky, colors, cutoffs, times, isect_offsets, flatten_ids):
    return means.new_empty(len(flatten_ids), 9 + colors.shape[1])


@torch.library.register_fake("garv::draw")
def _(records, chunks, levels, channels, tau, times, left, top, width, height, room, as_float):
    dtype = torch.float32 if as_float else torch.uint8
    image = records.new_empty(len(times), height, width, channels, dtype=dtype)
    return image, records.new_empty(1, dtype=torch.int64)


@torch.library.register_fake("garv::adam_step")
def _(rows, gradient, exp_avg, exp_avg_sq, steps, rates, beta1, beta2, eps, visible_only):
    return None


@torch.library.register_fake("garv::crop_gaussians")
def _(means, cholesky, colors, size, low, high, threshold):
    return _some_of(means, cholesky, colors)


@torch.library.register_fake("garv::join_weighted")
def _(means, cholesky, colors, weights, other_means, other_cholesky, other_colors, other_weights):
    return _some_of(means, cholesky, colors)


def _some_of(*tensors: Tensor) -> tuple[Tensor, ...]:
    """As many rows of each as only the data tell."""
    kept = torch.library.get_ctx().new_dynamic_size()
    return tuple(t.new_empty(kept, t.shape[1]) for t in tensors)


@torch.library.register_fake("garv::region_weights")
def _(means, cholesky, boxes, spread, narrower, feather):
    return means.new_empty(len(means))


@torch.library.register_fake("garv::typical_spread")
def _(cholesky):
    return cholesky.new_empty(3)


def _setup_context(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs[:7])


def _backward(ctx, v_image: Tensor):
    by = _deterministic if _deterministic.needed(v_image) else torch.ops.garv
    gradients = by.accumulate_bwd(v_image.contiguous(), *ctx.saved_tensors)
    return (*gradients, None, None, None, None, None, None)


torch.library.register_autograd("garv::accumulate", _backward, setup_context=_setup_context)
