"""Names, signatures, fake kernels and gradients of the operators, defined once, whichever library serves them."""

from __future__ import annotations

import torch
from torch import Tensor

from garv_gsplat.ops import _deterministic, _reference, _reference_decode, _reference_draw, _reference_regions

_GEOMETRY = "Tensor means, Tensor cholesky"
_TILES = "Tensor cutoffs, Tensor times, Tensor motion, Tensor isect_offsets, Tensor flatten_ids"
_GAUSSIANS = f"{_GEOMETRY}, Tensor colors"
_OTHERS = "Tensor other_means, Tensor other_cholesky, Tensor other_colors, Tensor hidden"

torch.library.define(
    "garv::bin_gaussians",
    f"({_GEOMETRY}, Tensor cutoffs, Tensor times, Tensor motion, int width, int height, int capacity)"
    " -> (Tensor, Tensor)",
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
    "(Tensor records, Tensor chunks, int levels, int channels, float tau, Tensor times, Tensor motion, "
    "int left, int top, int width, int height, int room, bool as_float, Tensor(a!) missing) -> Tensor",
)

torch.library.define(
    "garv::adam_step",
    "(Tensor(a!) rows, Tensor gradient, Tensor(b!) exp_avg, Tensor(c!) exp_avg_sq, Tensor(d!) steps, Tensor rates, "
    "float beta1, float beta2, float eps, bool visible_only) -> ()",
)

torch.library.define(
    "garv::crop_gaussians",
    f"({_GAUSSIANS}, int[] size, int[] low, int[] high, float[] first, float[] last, float threshold)"
    " -> (Tensor, Tensor, Tensor)",
)
torch.library.define("garv::join_weighted", f"({_GAUSSIANS}, Tensor weights, {_OTHERS}) -> (Tensor, Tensor, Tensor)")
torch.library.define(
    "garv::region_weights",
    f"({_GEOMETRY}, Tensor maps, Tensor boxes, Tensor spread, float narrower, float feather) -> Tensor",
)
torch.library.define("garv::typical_spread", f"({_GEOMETRY}, Tensor maps) -> Tensor")

# Attributes, exponents and positions of all streams, and the status of each.
torch.library.define(
    "garv::decode_levels",
    "(Tensor data, Tensor sizes, Tensor counts, Tensor tables, Tensor heights, Tensor contexts, Tensor steps) "
    "-> (Tensor, Tensor, Tensor, Tensor)",
)

torch.library.define(
    "garv::dequantize_levels",
    "(Tensor layer, Tensor shapes, Tensor colors, Tensor exponents, Tensor positions, Tensor steps, Tensor axes, "
    "float color_step) -> (Tensor, Tensor, Tensor)",
)

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
    "decode_levels": _reference_decode,
    "dequantize_levels": _reference_decode,
}.items():
    # Kernels of the compiled libraries are registered for one backend and win over this key.
    torch.library.impl(f"garv::{_name}", "CompositeExplicitAutograd")(getattr(_module, _name))


@torch.library.register_fake("garv::bin_gaussians")
def _(means, cholesky, cutoffs, times, motion, width, height, capacity):
    tiles_x, tiles_y = _reference.tile_grid(width, height)
    offsets = means.new_empty(len(times) * tiles_x * tiles_y + 1, dtype=torch.int64)
    return offsets, means.new_empty(capacity, dtype=torch.int32)


@torch.library.register_fake("garv::accumulate")
def _(means, cholesky, colors, cutoffs, times, motion, isect_offsets, flatten_ids, width, height):
    return colors.new_empty(len(times), height, width, colors.shape[1])


@torch.library.register_fake("garv::accumulate_bwd")
def _(v_image, means, cholesky, colors, cutoffs, times, motion, isect_offsets, flatten_ids):
    return torch.empty_like(means), torch.empty_like(cholesky), torch.empty_like(colors)


@torch.library.register_fake("garv::accumulate_bwd_pairs")
def _(v_image, means, cholesky, colors, cutoffs, times, motion, isect_offsets, flatten_ids):
    return means.new_empty(len(flatten_ids), 9 + colors.shape[1])


@torch.library.register_fake("garv::draw")
def _(records, chunks, levels, channels, tau, times, motion, left, top, width, height, room, as_float, missing):
    dtype = torch.float32 if as_float else torch.uint8
    return records.new_empty(len(times), height, width, channels, dtype=dtype)


@torch.library.register_fake("garv::adam_step")
def _(rows, gradient, exp_avg, exp_avg_sq, steps, rates, beta1, beta2, eps, visible_only):
    return None


@torch.library.register_fake("garv::crop_gaussians")
def _(means, cholesky, colors, size, low, high, first, last, threshold):
    return _some_of(means, cholesky, colors)


@torch.library.register_fake("garv::join_weighted")
def _(means, cholesky, colors, weights, other_means, other_cholesky, other_colors, hidden):
    return _some_of(means, cholesky, colors)


def _some_of(*tensors: Tensor) -> tuple[Tensor, ...]:
    """As many rows of each as only the data tell."""
    kept = torch.library.get_ctx().new_dynamic_size()
    return tuple(t.new_empty(kept, t.shape[1]) for t in tensors)


@torch.library.register_fake("garv::region_weights")
def _(means, cholesky, maps, boxes, spread, narrower, feather):
    return means.new_empty(len(means))


@torch.library.register_fake("garv::typical_spread")
def _(means, cholesky, maps):
    return means.new_empty(3)


@torch.library.register_fake("garv::decode_levels")
def _(data, sizes, counts, tables, heights, contexts, steps):
    total = torch.library.get_ctx().new_dynamic_size()
    attributes = data.new_empty(len(contexts), total, dtype=torch.int32)
    exponents, positions = (data.new_empty(3, total, dtype=torch.int64) for _ in range(2))
    return attributes, exponents, positions, torch.empty_like(sizes)


@torch.library.register_fake("garv::dequantize_levels")
def _(layer, shapes, colors, exponents, positions, steps, axes, color_step):
    return tuple(shapes.new_empty(len(layer), width, dtype=torch.float32) for width in (3, 6, len(colors)))


def _setup_context(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs[:8])


def _backward(ctx, v_image: Tensor):
    by = _deterministic if _deterministic.needed(v_image) else torch.ops.garv
    gradients = by.accumulate_bwd(v_image.contiguous(), *ctx.saved_tensors)
    return (*gradients, None, None, None, None, None, None, None)


torch.library.register_autograd("garv::accumulate", _backward, setup_context=_setup_context)
