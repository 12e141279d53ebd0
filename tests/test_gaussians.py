"""VideoGaussians and the affine maps that carry them."""

import math

import pytest
import torch

from garv_gsplat.gaussians import VideoGaussians, affine_map, energies
from garv_gsplat.rendering import rasterization
from garv_gsplat.volume import VideoInfo

INFO = VideoInfo(64, 48, 10)


def factor(cholesky: torch.Tensor) -> torch.Tensor:
    """L [N, 3, 3] in the axis order (t, x, y)."""
    matrix = cholesky.new_zeros(len(cholesky), 3, 3)
    rows, columns = torch.tril_indices(3, 3)
    matrix[:, rows, columns] = cholesky[:, [0, 1, 3, 2, 4, 5]]  # by rows: tt, xt, xx, yt, yx, yy
    return matrix


def random_gaussians(n: int = 50, seed: int = 0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    means = torch.rand(n, 3, generator=generator, dtype=dtype)
    cholesky = torch.randn(n, 6, generator=generator, dtype=dtype)
    cholesky[:, [0, 3, 5]] = cholesky[:, [0, 3, 5]].abs() + 0.05
    return means, cholesky


def test_taking_some_of_them():
    means, cholesky = random_gaussians()
    gaussians = VideoGaussians(means, cholesky, means.clone(), INFO)
    for chosen in (torch.tensor([7, 3]), torch.arange(50) > 40):
        some = gaussians.take(chosen)
        assert some.info == INFO
        for name in ("means", "cholesky", "colors"):
            assert torch.equal(getattr(some, name), getattr(gaussians, name)[chosen])


@pytest.mark.parametrize(
    "matrix",
    [
        ((2.0, 0.0, 0.0), (0.0, 0.5, 0.0), (0.0, 0.0, 3.0)),
        ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
        ((1.0, 0.3, 0.2), (-0.4, 1.0, 0.1), (0.2, 0.5, -2.0)),
        ((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    ],
)
def test_affine_map_carries_the_covariance(matrix):
    means, cholesky = random_gaussians()
    m = torch.tensor(matrix, dtype=means.dtype)
    offset = (0.1, -0.2, 0.3)
    new_means, new_cholesky = affine_map(means, cholesky, matrix, offset)
    torch.testing.assert_close(new_means, means @ m.T + torch.tensor(offset, dtype=means.dtype))
    in_order = m[[2, 0, 1]][:, [2, 0, 1]]
    old, new = factor(cholesky), factor(new_cholesky)
    torch.testing.assert_close(new @ new.mT, in_order @ old @ old.mT @ in_order.T)
    assert (new.diagonal(dim1=1, dim2=2) > 0).all()


def test_thin_fast_gaussians_survive_a_change_of_axis_in_float32():
    """M L is re-triangularised; factoring M L L^T M^T would lose the thin direction to cancellation."""
    cholesky = torch.tensor([[8.0, 80.0, 0.0, 0.3, 0.0, 0.3]])
    means = torch.zeros(1, 3)
    swap = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))  # x and t change places
    single = affine_map(means, cholesky, swap, (0, 0, 0))[1]
    double = affine_map(means.double(), cholesky.double(), swap, (0, 0, 0))[1]
    torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=1e-7)


def test_pixels_and_back():
    means, cholesky = random_gaussians(dtype=torch.float32)
    gaussians = VideoGaussians(means, cholesky, torch.rand(50, 3), INFO)
    in_pixels = gaussians.in_pixels()
    torch.testing.assert_close(in_pixels[0], means * torch.tensor([64.0, 48.0, 10.0]))
    again = VideoGaussians.from_pixels(*in_pixels, gaussians.colors, INFO)
    torch.testing.assert_close(again.means, means)
    torch.testing.assert_close(again.cholesky, cholesky)
    assert len(again) == 50


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"cholesky must be \[5, 6\], got \[5, 5\]"):
        VideoGaussians(torch.zeros(5, 3), torch.zeros(5, 5), torch.zeros(5, 3), INFO)
    with pytest.raises(ValueError, match=r"colors must be \[5, 3\], got \[5, 1\]"):
        VideoGaussians(torch.zeros(5, 3), torch.zeros(5, 6), torch.zeros(5, 1), INFO)


def test_tensors_of_different_kinds_are_refused():
    means, cholesky, colors = torch.zeros(2, 3), torch.zeros(2, 6), torch.zeros(2, 3)
    with pytest.raises(ValueError, match="must all be float32 or float64 on one device, got torch.float32 on cpu and"):
        VideoGaussians(means, cholesky, colors.double(), INFO)
    with pytest.raises(ValueError, match="got torch.float16 on cpu"):
        VideoGaussians(means.half(), cholesky.half(), colors.half(), INFO)


def test_the_energy_is_the_squared_sum_and_ends_with_the_video():
    info = VideoInfo(64, 48, 32)
    cholesky = torch.tensor([[3.0, 1.0, -2.0, 2.0, 0.5, 4.0], [1e6, 0, 0, 1e6, 0, 1e6]])
    colors = torch.tensor([[0.3, 0.4, 0.0], [0.3, 0.4, 0.0]])
    means = torch.tensor([[32.0, 24.0, 16.0]]).repeat(2, 1)
    for k in range(2):
        one = VideoGaussians.from_pixels(means[k : k + 1], cholesky[k : k + 1], colors[k : k + 1], info)
        total = float(rasterization(one, info.frame_centers(), tau=0).square().sum())
        found = math.pi**1.5 * float(energies(cholesky, colors, info)[k])
        assert total == pytest.approx(found, rel=0.01)
