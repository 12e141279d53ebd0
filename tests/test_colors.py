"""Colours by least squares: the best there are, and those of Gaussians that are drawn dimmer than they are."""

from __future__ import annotations

import torch
from torch import Tensor

from garv_gsplat import VideoGaussians, VideoInfo, rasterization
from garv_gsplat.colors import NormalEquations
from tests.codec.samples import fitted_like

INFO = VideoInfo(24, 16, 4)
TIMES = (torch.arange(4) + 0.5).split(3)
FRAMES = torch.rand(4, 16, 24, 3, generator=torch.Generator().manual_seed(0))


def rendering(gaussians: VideoGaussians) -> Tensor:
    """The matrix [pixels of all frames, N] float64 that colours are rendered by."""
    one = VideoInfo(24, 16, 4, channels=8)
    parts = [
        rasterization(VideoGaussians(gaussians.means, gaussians.cholesky, part, one), INFO.frame_centers())
        for part in torch.eye(len(gaussians)).split(8, 1)
    ]
    return torch.cat(parts, -1).reshape(-1, len(gaussians)).double()


def test_colours_become_the_best_there_are():
    gaussians = fitted_like(40, INFO)
    matrix, target = rendering(gaussians), FRAMES.reshape(-1, 3).double()
    equations = NormalEquations(*gaussians.in_pixels(), TIMES, (24, 16))
    best = torch.linalg.lstsq(matrix, target).solution
    found = equations.improve(gaussians.colors, FRAMES.split(3), 60)
    least, reached = ((matrix @ colors.double() - target).square().sum() for colors in (best, found))
    assert reached < 1.01 * least
    few = equations.improve(gaussians.colors, FRAMES.split(3), 5)
    start = (matrix @ gaussians.colors.double() - target).square().sum()
    assert least < (matrix @ few.double() - target).square().sum() < start


def test_gains_dim_what_is_drawn():
    gaussians = fitted_like(40, INFO)
    gains = 0.1 + 0.9 * torch.rand(40, 1, generator=torch.Generator().manual_seed(1))
    matrix, target = rendering(gaussians) * gains.T.double(), FRAMES.reshape(-1, 3).double()
    equations = NormalEquations(*gaussians.in_pixels(), TIMES, (24, 16), gains=gains)
    found = equations.gradient(gaussians.colors, FRAMES.split(3)).double()
    wanted = matrix.T @ (matrix @ gaussians.colors.double() - target)
    assert (found - wanted).abs().max() < 2e-3 * wanted.abs().max()  # what both leave out of tiles
