"""Frames, crops, zooms and line scans agree with each other, on every device."""

import pytest
import torch

from garv_gsplat.gaussians import VideoGaussians
from garv_gsplat.ops import PairBudget
from garv_gsplat.rendering import color_cutoffs, rasterization
from garv_gsplat.volume import Box, VideoInfo

INFO = VideoInfo(64, 48, 10)
# Float32 sums of a few hundred Gaussians of weight and colour up to 1, in another order or scaling.
ROUNDING = 2e-5


@pytest.fixture
def gaussians(device) -> VideoGaussians:
    generator = torch.Generator().manual_seed(0)
    n = 200
    means = torch.rand(n, 3, generator=generator) * torch.tensor([64.0, 48.0, 10.0])
    cholesky = torch.randn(n, 6, generator=generator)
    cholesky[:, [3, 5]] = torch.rand(n, 2, generator=generator) * 4 + 1
    cholesky[:, 0] = torch.rand(n, generator=generator) * 4 + 0.5
    colors = torch.randn(n, 3, generator=generator) * 0.3
    return VideoGaussians.from_pixels(means, cholesky, colors, INFO).to(device)


def frames_of(gaussians: VideoGaussians, **arguments) -> torch.Tensor:
    return rasterization(gaussians, INFO.frame_centers(), tau=0, **arguments)


def test_a_crop_is_the_crop_of_the_frame(gaussians):
    crop = frames_of(gaussians, crop=Box.from_pixels(INFO, 5, 7, 20, 30))
    torch.testing.assert_close(crop, frames_of(gaussians)[:, 7:37, 5:25], rtol=0, atol=ROUNDING)


def test_a_zoom_keeps_the_pixels_that_both_have(gaussians):
    """Three times as large, the middle of each 3x3 pixels has the centre of the pixel it came from."""
    zoom = frames_of(gaussians, size=(192, 144))
    torch.testing.assert_close(zoom[:, 1::3, 1::3], frames_of(gaussians), rtol=0, atol=ROUNDING)


def test_line_scans_are_planes_of_the_volume(gaussians):
    full = frames_of(gaussians)
    row = rasterization(gaussians, [(20 + 0.5) / 48], axis="y", tau=0)
    torch.testing.assert_close(row[0], full[:, 20], rtol=0, atol=ROUNDING)
    column = rasterization(gaussians, [(30 + 0.5) / 64], axis="x", tau=0)
    torch.testing.assert_close(column[0].transpose(0, 1), full[:, :, 30], rtol=0, atol=ROUNDING)


def test_a_batch_is_its_frames(gaussians):
    times = INFO.frame_centers()
    one_by_one = torch.cat([rasterization(gaussians, [t], tau=0) for t in times])
    torch.testing.assert_close(frames_of(gaussians), one_by_one, rtol=0, atol=ROUNDING)


def test_shrinking_averages_and_keeps_the_brightness(gaussians):
    full = frames_of(gaussians)
    averaged = full.reshape(10, 24, 2, 32, 2, 3).mean((2, 4))
    shrunk = frames_of(gaussians, size=(32, 24))
    # A Gaussian filter of a box's variance is no box: what is left is of fourth order in the pixel's size.
    assert (shrunk - averaged).abs().max() < 0.02
    assert (full[:, ::2, ::2] - averaged).abs().max() > 0.2  # sampling without the filter is far off
    torch.testing.assert_close(shrunk.mean((1, 2)), averaged.mean((1, 2)), rtol=0, atol=1e-3)


def test_the_cull_loses_no_more_than_its_threshold(gaussians):
    tau = 0.5
    lost = (rasterization(gaussians, INFO.frame_centers(), tau=tau) - frames_of(gaussians)).abs().max()
    assert 0 < lost <= len(gaussians) * tau / 255  # every Gaussian may lose up to tau
    exact = rasterization(gaussians, INFO.frame_centers(), tau=1e-4)
    torch.testing.assert_close(exact, frames_of(gaussians), rtol=0, atol=ROUNDING)


def test_gradients_reach_the_unit_cube(gaussians):
    for name in ("means", "cholesky", "colors"):
        getattr(gaussians, name).requires_grad_()
    rasterization(gaussians, [0.3, 0.7], crop=Box(x1=0.5), axis="y").square().sum().backward()
    assert all(
        torch.isfinite(v.grad).all() and v.grad.norm() > 0 for v in vars(gaussians).values() if hasattr(v, "grad")
    )


@pytest.mark.parametrize("axis", ["t", "x", "y"])
def test_the_same_bits_in_deterministic_mode(gaussians, deterministic, axis):
    def render() -> list[torch.Tensor]:
        leaves = [t.clone().requires_grad_() for t in (gaussians.means, gaussians.cholesky, gaussians.colors)]
        images = rasterization(VideoGaussians(*leaves, INFO), [0.2, 0.7], axis=axis, size=(40, 30))
        return [images.detach(), *torch.autograd.grad(images.square().sum(), leaves)]

    assert all(torch.equal(a, b) for a, b in zip(render(), render()))


def test_a_kept_budget_renders_the_same(gaussians):
    budget = PairBudget()
    first = rasterization(gaussians, [0.1], pair_budget=budget)
    again = rasterization(gaussians, [0.1], pair_budget=budget)
    torch.testing.assert_close(first, again, rtol=0, atol=ROUNDING)


def test_cutoffs():
    colors = torch.tensor([[0.1, -0.5, 0.0], [0.0, 0.0, 0.0]])
    cutoffs = color_cutoffs(colors, 1.0)
    assert cutoffs[0] == pytest.approx(2 * torch.tensor(0.5 * 255).log().item())
    assert cutoffs[1] == -torch.inf  # black is never listed
    assert color_cutoffs(colors, 0).eq(torch.inf).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"axis": "z"}, 'axis must be "t", "x" or "y", got \'z\''),
        ({"size": (0, 5)}, "size must be at least 1x1, got 0x5"),
        ({"tau": -1.0}, "tau must not be negative"),
    ],
)
def test_bad_arguments(gaussians, arguments, message):
    with pytest.raises(ValueError, match=message):
        rasterization(gaussians, [0.5], **arguments)


def test_bad_times_and_broken_sizes(gaussians):
    with pytest.raises(ValueError, match=r"times must be \[B\], one position a slice, got \[\]"):
        rasterization(gaussians, 0.5)
    with pytest.raises(ValueError, match=r"got \[1, 2\]"):
        rasterization(gaussians, [[0.5, 0.6]])
    with pytest.raises(TypeError, match="float"):
        rasterization(gaussians, [0.5], size=(4.5, 3))
