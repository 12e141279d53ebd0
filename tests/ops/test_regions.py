"""Parts of a video: kernels against the reference on random scenes, what they promise, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from garv_gsplat import ops
from garv_gsplat.gaze import Region
from garv_gsplat.ops import _reference_regions as reference
from garv_gsplat.volume import Box, VideoInfo

SIZE = (192, 108, 60)
INFO = VideoInfo(*SIZE, 25)
# Places are rounded to 2^-24 of numbers up to 2, which is 1.2e-5 of the narrowest unit here, twice as much of a feather
# of half a unit.
WEIGHT = 5e-5
COUNTS = [1, 31, 256, 257, 5000]
STILL = torch.empty(0, 6)


@pytest.fixture(autouse=True, scope="module")
def kernels() -> None:
    """Load what was compiled: operators that are called directly do not."""
    ops.serving()


def random_gaussians(n: int, channels: int = 3, seed: int = 0, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Means, Cholesky factors and colours in the unit cube: from a hundredth of it to a fifth wide, some outside."""
    g = torch.Generator().manual_seed(seed)
    means = torch.rand(n, 3, generator=g) * 1.4 - 0.2
    wide = 0.01 * torch.exp(3 * torch.rand(n, 3, generator=g))
    slant = 0.02 * torch.randn(n, 3, generator=g)
    cholesky = torch.stack([wide[:, 0], slant[:, 0], slant[:, 1], wide[:, 1], slant[:, 2], wide[:, 2]], 1)
    colors = torch.randn(n, channels, generator=g)
    return [t.to(dtype) for t in (means, cholesky, colors)]


def random_maps(frames: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """How frames see a plane that turns, zooms and pans."""
    g = torch.Generator().manual_seed(3)
    still = torch.tensor([1.0, 0, 0, 1, 0, 0])
    return (still + 0.1 * torch.randn(frames, 6, generator=g)).to(dtype)


def random_region(count: int, seed: int = 0) -> Region:
    """Boxes anywhere, of any length in time, in no order; some touch an end."""
    g = torch.Generator().manual_seed(seed)
    ends = torch.rand(count, 3, 2, generator=g).sort(2)[0]
    ends[:, 2, 1] = (
        ends[:, 2, 0] + (ends[:, 2, 1] - ends[:, 2, 0]) * torch.rand(count, generator=g) ** 2
    )  # mostly short
    ends = torch.where(ends < 0.05, 0.0, torch.where(ends > 0.95, 1.0, ends)).double()
    ends[..., 1] = torch.maximum(ends[..., 1], ends[..., 0] + 0.01)
    return Region([Box(x0, y0, t0, x1, y1, t1) for (x0, x1), (y0, y1), (t0, t1) in ends.tolist()])


def on(device: torch.device, tensors: list[Tensor]) -> list[Tensor]:
    return [t.to(device) for t in tensors]


def distance_to_the_verge(gaussians: list[Tensor], low, high, threshold: float) -> Tensor:
    """How far, in pixels and frames, what each Gaussian reaches lies from being just in the box [N]."""
    means, cholesky, colors = (t.double() for t in gaussians)
    size = torch.tensor(SIZE)
    radius = (2 * (colors.abs().amax(1) / threshold).clamp(min=1).log()).sqrt()
    half = radius[:, None] * reference.standard_deviations(cholesky) * size
    return torch.minimum(torch.tensor(high) - (means * size - half), means * size + half - torch.tensor(low)).amin(1)


@pytest.mark.parametrize("n", COUNTS)
@pytest.mark.parametrize(
    ("low", "high"), [((0, 0, 0), SIZE), ((40, 20, 10), (140, 80, 50)), ((100, 50, 20), (101, 51, 21))]
)
def test_crops_equal_the_reference(n, low, high, device):
    gaussians, threshold = random_gaussians(n), 0.01
    sure = distance_to_the_verge(gaussians, low, high, threshold).abs() > 1e-3  # on the verge roundings decide
    gaussians = [t[sure] for t in gaussians]
    wanted = reference.crop_gaussians(*gaussians, SIZE, low, high, low, high, threshold)
    found = ops.crop_gaussians(on(device, gaussians), SIZE, low, high, threshold)
    for a, b in zip(found, wanted):
        assert a.shape == b.shape and a.dtype == b.dtype
        torch.testing.assert_close(a.cpu(), b, rtol=1e-6, atol=1e-6 * SIZE[0])


@pytest.mark.parametrize("n", COUNTS)
def test_crops_keep_what_reaches_what_the_box_sees(n, device):
    gaussians, threshold = random_gaussians(n), 0.01
    low, high, seen = (40, 20, 10), (140, 80, 50), ((-30.5, 5.25, 10.0), (60.5, 33.75, 50.0))
    sure = distance_to_the_verge(gaussians, *seen, threshold).abs() > 1e-3
    gaussians = [t[sure] for t in gaussians]
    wanted = reference.crop_gaussians(*gaussians, SIZE, low, high, *seen, threshold)
    found = ops.crop_gaussians(on(device, gaussians), SIZE, low, high, threshold, seen)
    for a, b in zip(found, wanted):
        torch.testing.assert_close(a.cpu(), b, rtol=1e-6, atol=1e-6 * SIZE[0])
    in_box = ops.crop_gaussians(gaussians, SIZE, low, high, threshold)
    assert n < 31 or len(found[0]) != len(in_box[0])


@pytest.mark.parametrize("n", COUNTS)
def test_what_a_crop_keeps_stays_in_order(n, device):
    """Of 2 500 thread blocks' work on CUDA, too, and the same each time."""
    gaussians = on(device, random_gaussians(128 * n))
    first = ops.crop_gaussians(gaussians, SIZE, (40, 20, 10), (140, 80, 50), 0.01)
    again = ops.crop_gaussians(gaussians, SIZE, (40, 20, 10), (140, 80, 50), 0.01)
    assert all(torch.equal(a, b) for a, b in zip(first, again))
    places = {tuple(color): k for k, color in enumerate(gaussians[2].tolist())}
    kept = [places[tuple(color)] for color in first[2].tolist()]
    assert kept == sorted(kept)


def test_a_crop_of_all_the_video_changes_nothing(device):
    gaussians = on(device, random_gaussians(300))
    inside = [t[(gaussians[0] > 0).all(1) & (gaussians[0] < 1).all(1)] for t in gaussians]
    assert all(torch.equal(a, b) for a, b in zip(ops.crop_gaussians(inside, SIZE, (0, 0, 0), SIZE, 0.01), inside))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_crops_of_any_kind(channels, dtype, device):
    gaussians = random_gaussians(500, channels, dtype=dtype)
    gaussians[2] *= 0.003  # most reach nothing but their mean
    box = ((0, 0, 0), (96, 54, 30))
    wanted = reference.crop_gaussians(*gaussians, SIZE, *box, *box, 0.01)
    found = ops.crop_gaussians(on(device, gaussians), SIZE, *box, 0.01)
    assert found[2].shape == wanted[2].shape and 0 < len(found[2]) < 500
    for a, b in zip(found, wanted):
        torch.testing.assert_close(a.cpu(), b, rtol=1e-6, atol=1e-6)


def test_without_a_threshold_all_but_black_ones_are_kept(device):
    gaussians = random_gaussians(100)
    gaussians[2][::10] = 0
    kept = ops.crop_gaussians(on(device, gaussians), SIZE, (3, 4, 5), (6, 7, 8), 0.0)
    assert torch.equal(kept[2].cpu(), gaussians[2][gaussians[2].any(1)])


def test_nothing_is_kept_of_nothing(device):
    none = on(device, random_gaussians(0))
    assert [t.shape for t in ops.crop_gaussians(none, SIZE, (0, 0, 0), SIZE, 0.1)] == [(0, 3), (0, 6), (0, 3)]
    weights = torch.zeros(0, device=device)
    assert [t.shape for t in ops.join_weighted(none, weights, none, weights)] == [(0, 3), (0, 6), (0, 3)]
    columns = random_region(3).columns.float().to(device)
    assert ops.region_weights(*none[:2], columns, torch.ones(3, device=device), 0.3, 2.0).shape == (0,)
    far = on(device, random_gaussians(10))
    far[0] += 100
    assert len(ops.crop_gaussians(far, SIZE, (0, 0, 0), SIZE, 0.1)[0]) == 0


@pytest.mark.parametrize("n", COUNTS)
@pytest.mark.parametrize("boxes", [1, 2, 17, 300])
@pytest.mark.parametrize("feather", [0.5, 3.5])
def test_weights_equal_the_reference(n, boxes, feather, device):
    means, cholesky, _ = random_gaussians(n)
    columns, spread = random_region(boxes).columns.float(), torch.tensor([0.01, 0.02, 0.015])
    wanted = reference.region_weights(means, cholesky, STILL.to(means), columns, spread, 1 / 3, feather)
    found = ops.region_weights(*on(device, [means, cholesky, columns, spread]), 1 / 3, feather)
    torch.testing.assert_close(found.cpu(), wanted, rtol=0, atol=WEIGHT)
    if n == 5000:
        assert (wanted == 0).any() and (wanted == 1).any() and ((wanted > 0) & (wanted < 1)).any()


@pytest.mark.parametrize(
    "region",
    [
        Region.random(INFO, 0.04, hold=0.1),
        Region.moving(INFO, [(0.0, (0, 0, 40, 20)), (2.0, (140, 80, 40, 20))]),
        Region([Box(), Box(t0=0.5, x1=0.1)]),
    ],
)
def test_weights_of_regions_as_they_are(region, device):
    means, cholesky, _ = random_gaussians(2000, seed=1)
    spread = reference.typical_spread(means, cholesky, STILL)
    wanted = reference.region_weights(means, cholesky, STILL, region.columns.float(), spread, 1 / 3, 3.5)
    found = ops.region_weights(*on(device, [means, cholesky, region.columns.float(), spread]), 1 / 3, 3.5)
    torch.testing.assert_close(found.cpu(), wanted, rtol=0, atol=WEIGHT)


def test_weights_in_double_precision(device):
    means, cholesky, _ = random_gaussians(500, dtype=torch.float64)
    columns, spread = random_region(40).columns, torch.full((3,), 0.02, dtype=torch.float64)
    wanted = reference.region_weights(means, cholesky, STILL.to(means), columns, spread, 0.5, 2.0)
    found = ops.region_weights(*on(device, [means, cholesky, columns, spread]), 0.5, 2.0)
    torch.testing.assert_close(found.cpu(), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 2 * WEIGHT), (torch.float64, 1e-12)])
@pytest.mark.parametrize("frames", [1, 2, 60])
@pytest.mark.parametrize("n", COUNTS)
def test_weights_through_maps_equal_the_reference(n, frames, dtype, error, device):
    means, cholesky, _ = random_gaussians(n, dtype=dtype)
    columns, spread = random_region(17).columns.to(dtype), torch.tensor([0.01, 0.02, 0.015], dtype=dtype)
    maps = random_maps(frames, dtype)
    wanted = reference.region_weights(means, cholesky, maps, columns, spread, 1 / 3, 3.5)
    found = ops.region_weights(*on(device, [means, cholesky, columns, spread]), 1 / 3, 3.5, maps.to(device))
    torch.testing.assert_close(found.cpu(), wanted, rtol=0, atol=error)
    if n == 5000:
        still = reference.region_weights(means, cholesky, STILL.to(dtype), columns, spread, 1 / 3, 3.5)
        assert ((wanted - still).abs() > 0.1).float().mean() > 0.02


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_maps_that_change_nothing(dtype, device):
    means, cholesky, _ = on(device, random_gaussians(500, dtype=dtype))
    maps = torch.tensor([[1.0, 0, 0, 1, 0, 0]] * 7, dtype=dtype, device=device)
    assert torch.allclose(ops.typical_spread(means, cholesky, maps), ops.typical_spread(means, cholesky), rtol=1e-5)
    arguments = (random_region(17).columns.to(means), means.new_tensor([0.01, 0.02, 0.015]), 1 / 3, 3.5)
    found, wanted = (ops.region_weights(means, cholesky, *arguments, each) for each in (maps, None))
    torch.testing.assert_close(found, wanted, rtol=0, atol=2 * WEIGHT)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (0, 300), (300, 0), (257, 511), (70000, 90000)])
def test_what_weights_leave_is_joined_in_order(n, m, device):
    first, second = random_gaussians(n, 2), random_gaussians(m, 2, seed=1)
    g = torch.Generator().manual_seed(2)
    weights = [torch.rand(k, generator=g) * (torch.rand(k, generator=g) > 0.4) for k in (n, m)]
    shown, hidden = weights[0], 1 - weights[1]
    wanted = reference.join_weighted(*first, shown, *second, hidden)
    found = ops.join_weighted(on(device, first), shown.to(device), on(device, second), hidden.to(device))
    assert len(wanted[0]) == sum(int((w > 0).sum()) for w in (shown, 1 - hidden))
    assert all(torch.equal(a.cpu(), b) for a, b in zip(found, wanted))


@pytest.mark.parametrize("n", COUNTS)
def test_typical_spread_is_the_geometric_mean(n, device):
    gaussians = random_gaussians(200 * n)[:2]
    wanted = reference.standard_deviations(gaussians[1].double()).log().mean(0).exp()
    found = ops.typical_spread(*on(device, gaussians))
    torch.testing.assert_close(found.cpu().double(), wanted, rtol=1e-5, atol=0)
    assert torch.equal(found, ops.typical_spread(*on(device, gaussians)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", COUNTS)
def test_typical_spread_is_that_of_what_frames_see(n, dtype, device):
    means, cholesky, _ = random_gaussians(20 * n, dtype=dtype)
    maps = random_maps(60, dtype)
    wanted = reference.typical_spread(means.double(), cholesky.double(), maps.double()).to(dtype)
    found = ops.typical_spread(*on(device, [means, cholesky, maps]))
    torch.testing.assert_close(found.cpu(), wanted, rtol=1e-5, atol=0)


def test_opcheck(device):
    first, second = on(device, random_gaussians(40)), on(device, random_gaussians(30, seed=1))
    weights = [(torch.rand(len(t), device=device) - 0.5).clamp(min=0) for t in (first[0], second[0])]
    columns, spread = random_region(3).columns.float().to(device), torch.full((3,), 0.1, device=device)
    maps, box = random_maps(4).to(device), ((10, 10, 10), (90, 90, 50))
    checks = [
        (torch.ops.garv.crop_gaussians, (*first, SIZE, *box, (10.0, 10.5, 10.0), (90.0, 95.0, 50.0), 0.01)),
        (torch.ops.garv.join_weighted, (*first, weights[0], *second, weights[1])),
        (torch.ops.garv.region_weights, (*first[:2], maps, columns, spread, 0.3, 2.0)),
        (torch.ops.garv.typical_spread, (*first[:2], maps)),
    ]
    for operator, arguments in checks:
        torch.library.opcheck(operator.default, arguments)


def test_what_is_refused():
    gaussians = random_gaussians(4)
    with pytest.raises(
        ValueError, match=r"must be \[N, 3\], \[N, 6\] and \[N, C\], got \[\[4, 3\], \[4, 5\], \[4, 3\]"
    ):
        ops.crop_gaussians((gaussians[0], gaussians[1][:, :5], gaussians[2]), SIZE, (0, 0, 0), SIZE, 0.1)
    with pytest.raises(ValueError, match="the box must hold pixels and frames along x, y and t"):
        ops.crop_gaussians(gaussians, SIZE, (0, 5, 0), (9, 5, 9), 0.1)
    with pytest.raises(ValueError, match=r"weights must be one a Gaussian, \[4\], got \[3\]"):
        ops.join_weighted(gaussians, torch.ones(4), gaussians, torch.ones(3))
    with pytest.raises(ValueError, match=r"\[3\] and \[7, K\], got \[\[4, 3\], \[4, 6\], \[3\], \[6, 2\]\]"):
        ops.region_weights(*gaussians[:2], torch.zeros(6, 2), torch.ones(3), 0.3, 2.0)
    with pytest.raises(ValueError, match=r"must be \[N, 3\] and \[N, 6\], got \[\[4, 3\], \[4, 3\]\]"):
        ops.typical_spread(gaussians[0], gaussians[0])
    with pytest.raises(ValueError, match=r"maps must be \[T, 6\], a map for each frame, got \[4, 3\]"):
        ops.typical_spread(*gaussians[:2], gaussians[0])


def test_kernels_check_what_reaches_them_directly(device):
    gaussians = on(device, random_gaussians(4))
    columns, spread, maps = (torch.ones(*shape, device=device) for shape in ((7, 2), (3,), (4, 6)))
    with pytest.raises(RuntimeError, match="cholesky"):
        box = ((0, 0, 0), SIZE, (0.0, 0.0, 0.0), tuple(map(float, SIZE)))
        torch.ops.garv.crop_gaussians(gaussians[0], gaussians[1][:3], gaussians[2], SIZE, *box, 0.1)
    with pytest.raises(RuntimeError, match="cholesky must be contiguous"):
        turned = gaussians[1].T.contiguous().T
        torch.ops.garv.region_weights(gaussians[0], turned, maps, columns, spread, 0.3, 2.0)
    with pytest.raises(RuntimeError, match="spread must have the dtype of means"):
        torch.ops.garv.region_weights(*gaussians[:2], maps, columns, spread.double(), 0.3, 2.0)
    with pytest.raises(RuntimeError, match="maps"):
        torch.ops.garv.region_weights(*gaussians[:2], maps[:, :5].contiguous(), columns, spread, 0.3, 2.0)
    with pytest.raises(RuntimeError, match="maps must have the dtype of means"):
        torch.ops.garv.typical_spread(*gaussians[:2], maps.double())
