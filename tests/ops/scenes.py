"""Random Gaussians for the tests of the operators, and the two ways to draw them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from garv_gsplat import ops
from garv_gsplat.ops import _reference

INFINITE = math.inf
HALF = 2**-11  # largest relative error of a number in half precision; the typical one is half of it

# Error of an image, relative to its largest pixel. On the CPU the exponential is good to a few 1e-6 (a recurrence over
# 8 rows) and a pixel sums 60 such terms: 1e-4 is what the format's 8 bits need with a factor of 40 to spare. On CUDA
# weights, ratios, bulges and colours are rounded by up to HALF each; emulated, these scenes lose at most 2.5 HALF.
IMAGE = {"cpu": 1e-4, "cuda": 4 * HALF}


@dataclass
class Scene:
    """Arguments of the operators, in pixels and frames."""

    means: Tensor
    cholesky: Tensor
    colors: Tensor
    cutoffs: Tensor
    times: Tensor
    width: int
    height: int
    motion: Tensor | None = None

    def to(self, target: torch.device | torch.dtype | str) -> Scene:
        names = ("means", "cholesky", "colors", "cutoffs", "times")
        motion = None if self.motion is None else self.motion.to(target)
        return replace(self, motion=motion, **{name: getattr(self, name).to(target) for name in names})

    def pick(self, ids: Tensor) -> Scene:
        """The Gaussians `ids` in that order."""
        return replace(
            self,
            means=self.means[ids],
            cholesky=self.cholesky[ids],
            colors=self.colors[ids],
            cutoffs=self.cutoffs[ids],
        )

    @property
    def geometry(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.means, self.cholesky, self.cutoffs, self.times

    @property
    def gaussians(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        return self.means, self.cholesky, self.colors, self.cutoffs, self.times

    @property
    def maps(self) -> Tensor:
        """The motion as the kernels take it."""
        return ops.motion_or_none(self.motion, self.times)


def random_scene(
    width: int = 64,
    height: int = 48,
    *,
    n: int = 60,
    frames: int = 3,
    channels: int = 3,
    cutoff: float = 11.1,
    seed: int = 0,
    smallest: float = 0.3,
) -> Scene:
    """Thin and wide (standard deviations from `smallest` to 10 pixels), slanted and moving, some beyond the border."""
    g = torch.Generator().manual_seed(seed)
    duration = 6.0
    size = torch.tensor([width, height, duration])
    means = (torch.rand(n, 3, generator=g) * 1.2 - 0.1) * size
    spread = math.log(10.0 / smallest)
    l_xx, l_yy = (smallest * torch.exp(spread * torch.rand(2, n, generator=g))).unbind(0)
    l_yx = 0.7 * l_yy * torch.randn(n, generator=g)
    l_tt = 0.5 + 4 * torch.rand(n, generator=g)
    velocity = 3 * torch.randn(2, n, generator=g)
    cholesky = torch.stack([l_tt, velocity[0], velocity[1], l_xx, l_yx, l_yy], 1)
    colors = torch.randn(n, channels, generator=g)
    times = torch.linspace(0.5, duration - 0.5, frames) if frames else torch.zeros(0)
    return Scene(means, cholesky, colors, torch.full((n,), cutoff), times, width, height)


def lists(scene: Scene) -> tuple[Tensor, Tensor]:
    """Complete lists by the operator."""
    offsets, _ = ops.bin_gaussians(*scene.geometry, scene.width, scene.height, 0, scene.motion)
    return ops.bin_gaussians(*scene.geometry, scene.width, scene.height, int(offsets[-1]), scene.motion)


def draw(scene: Scene, tiles: tuple[Tensor, Tensor] | None = None) -> Tensor:
    return ops.accumulate(*scene.gaussians, *(tiles or lists(scene)), scene.width, scene.height, scene.motion)


def gradients(scene: Scene, v_image: Tensor, tiles: tuple[Tensor, Tensor] | None = None) -> list[Tensor]:
    """Gradients of sum(image * v_image) with respect to means, cholesky and colors."""
    leaves = [t.detach().clone().requires_grad_() for t in (scene.means, scene.cholesky, scene.colors)]
    image = draw(replace(scene, means=leaves[0], cholesky=leaves[1], colors=leaves[2]), tiles)
    return list(torch.autograd.grad(image, leaves, v_image))


class ReferenceAccumulate(torch.autograd.Function):
    """The plain-torch kernels with their own backward, whatever library serves the operators."""

    @staticmethod
    def forward(ctx, *arguments):
        ctx.save_for_backward(*arguments[:-2])
        return _reference.accumulate(*arguments)

    @staticmethod
    def backward(ctx, v_image):
        return (*_reference.accumulate_bwd(v_image, *ctx.saved_tensors), *[None] * 7)


def draw_reference(scene: Scene, tiles: tuple[Tensor, Tensor]) -> Tensor:
    return ReferenceAccumulate.apply(*scene.gaussians, scene.maps, *tiles, scene.width, scene.height)


def rounding(image: Tensor) -> float:
    """What another order of the sums may change. On CUDA it groups the Gaussians anew, and a steep one has the weights
    of those beside it rounded fewer times."""
    return 4 * HALF * max(1.0, float(image.abs().max())) if image.is_cuda else 1e-5


# Of the norm of gradients: what another order of the sums may change. On CUDA it groups the Gaussians anew, and float32
# weights that differ in their last bits are rounded to half precision then.
ORDER = {"cpu": 1e-5, "cuda": 5e-5}


def relative_error(value: Tensor, expected: Tensor) -> float:
    """Norm of the difference over the norm of what is expected, of the whole tensor."""
    difference = (value.cpu().double() - expected.cpu().double()).norm()
    return float(difference / expected.double().norm().clamp(min=1e-30))
