"""What each step of the renderer saves and costs: the GaRV paper's section 3.2.2 as a table."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from garv_gsplat.bench.cases import Case, Settings, chosen_frames, crop_box, exact_view
from garv_gsplat.bench.checking import Bounds, Errors, image_errors, image_limits, refuse_beyond
from garv_gsplat.bench.reference import SampledTile, evaluate, sample_tiles
from garv_gsplat.bench.targets import Target
from garv_gsplat.bench.timing import Patience, Timing, measure_throughput
from garv_gsplat.ops import ListBudget, PairBudget, slice_gaussians
from garv_gsplat.packing import draw_channels, pack_channels
from garv_gsplat.rendering import VolumeView, view_volume

FRAMES = 4
_TILES = 32
_PAIRS = {"cuda": 2e10, "cpu": 4e6}  # Gaussians times pixels of a frame: a fraction of a second in the first row
# Of decoding's threshold, for the rows without levels: a tile of a coarse level covers more pixels, so fewer Gaussians
# are left out of it, and with the same threshold these rows would lose about twice as much.
_WITHOUT_LEVELS = 3 / 7
_AT_ONCE = {"cuda": 1 << 24, "cpu": 1 << 20}  # Gaussians by pixels in plain torch

Draw = Callable[[Tensor], Tensor]  # times [1] in frames: image [1, H, W, C]


@dataclass(frozen=True)
class AblationRow:
    """One way to render a frame; times in seconds."""

    variant: str
    implementation: str
    tau: float
    """grey levels of 255 below which a Gaussian is left out of a tile; 0 leaves out nothing"""
    per_frame: Timing
    speedup: float
    """against the first row"""
    error: Errors
    psnr: float
    """dB against double precision with nothing culled, on the sampled tiles, of images of which 1.0 is white"""


@dataclass(frozen=True)
class Ablation:
    """The table of one target."""

    target: str
    width: int
    height: int
    num_gaussians: int
    frames: int
    rows: list[AblationRow]


def run_ablation(
    target: Target,
    settings: Settings,
    *,
    bounds: Bounds,
    patience: Patience,
    progress: Callable[[int, int, str], None] = lambda done, total, variant: None,
) -> Ablation:
    """Time one frame after the other in six ways, on a crop that is small enough for the first.

    A plane that moves is looked at as if it stood still: what slicing and culls give is the same.

    progress: called before each variant with how many are done, how many there are, and its name.

    Raises CheckError where a variant draws something wrong.
    """
    still = replace(target.gaussians, info=replace(target.gaussians.info, motion=None))
    target = replace(target, gaussians=still)
    settings = replace(settings, crop=_size_that_finishes(target, settings))
    case = Case("forward", "throughput", 1, cropped=True)
    indices = chosen_frames(target.gaussians.info.frames, (FRAMES,))
    exact = exact_view(target, case, settings)
    tiles = sample_tiles(FRAMES, exact.width, exact.height, _TILES)
    positions = torch.tensor(indices, dtype=torch.float64, device=settings.device) + 0.5
    reference = evaluate(exact, positions, tiles).images
    with torch.inference_mode():
        times = list(positions.float().split(1))
        variants = _variants(target, settings)
        rows: list[AblationRow] = []
        for (variant, implementation), (tau, draw) in variants.items():
            progress(len(rows), len(variants), f"{variant}, {implementation}")
            error, psnr = _compare(draw, times, tiles, reference)
            refuse_beyond(f"{target.name}, {variant} ({implementation})", image_limits(error, bounds))
            timing = measure_throughput(_all_frames(draw, times), settings.device, patience).per(FRAMES)
            speedup = rows[0].per_frame.median / timing.median if rows else 1.0
            rows.append(AblationRow(variant, implementation, tau, timing, speedup, error, psnr))
    return Ablation(target.name, exact.width, exact.height, len(target.gaussians), FRAMES, rows)


def _size_that_finishes(target: Target, settings: Settings) -> tuple[int, int]:
    """A crop of the video's shape, or all of it."""
    info = target.gaussians.info
    pixels = _PAIRS[settings.device.type] / max(1, len(target.gaussians))
    scale = min(1.0, math.sqrt(pixels / (info.width * info.height)))
    return max(1, int(info.width * scale)), max(1, int(info.height * scale))


def _variants(target: Target, settings: Settings) -> dict[tuple[str, str], tuple[float, Draw]]:
    """From the definition to what decodes before it rounds to uint8, one step at a time; thresholds with them."""
    tau = settings.tau * _WITHOUT_LEVELS
    view = view_volume(target.gaussians.to(settings.device), crop=crop_box(target.gaussians, settings.crop), tau=tau)
    everywhere = replace(view, cutoffs=torch.full_like(view.cutoffs, math.inf))
    return {
        ("eq. 2, 3x3 inverse covariance", "plain torch"): (0.0, _definition(view)),
        ("eq. 3, slices, no cull", "plain torch"): (0.0, _slices(view)),
        ("eq. 3, slices, no cull", "kernels"): (0.0, _kernels(everywhere)),
        ("+ frame-wise cull", "kernels"): (tau, _active_only(view, everywhere)),
        ("+ tile-wise cull", "kernels"): (tau, _kernels(view)),
        ("+ levels, packed (what decoding ships)", "kernels"): (settings.tau, _packed(view, settings.tau)),
    }


def _definition(view: VolumeView) -> Draw:
    """Eq. 2 at every pixel; the inverses are made beforehand, in double precision."""
    factor = view.means.new_zeros(len(view.means), 3, 3, dtype=torch.float64)  # axis order (t, x, y)
    factor[:, [0, 1, 2, 1, 2, 2], [0, 0, 0, 1, 1, 2]] = view.cholesky.double()
    inverse = torch.linalg.inv(factor @ factor.mT).float()
    tt, xt, yt, xx, xy, yy = (inverse[:, i, j] for i, j in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)))

    def distances(time: Tensor, x: Tensor, y: Tensor) -> Tensor:
        dt = time - view.means[:, 2]
        dx, dy = x[:, None] - view.means[:, 0], y[:, None] - view.means[:, 1]
        return tt * dt**2 + xx * dx**2 + yy * dy**2 + 2 * (xt * dt * dx + yt * dt * dy + xy * dx * dy)

    return _densely(view, distances)


def _slices(view: VolumeView) -> Draw:
    """Eq. 3 at every pixel."""

    def distances(time: Tensor, x: Tensor, y: Tensor) -> Tensor:
        means2d, peak, factor = slice_gaussians(view.means, view.cholesky, time)
        a, b, c = factor.unbind(1)
        z1 = (x[:, None] - means2d[0, :, 0]) / a
        z2 = (y[:, None] - means2d[0, :, 1] - b * z1) / c
        return z1**2 + z2**2 - 2 * peak[0].log()

    return _densely(view, distances)


def _densely(view: VolumeView, distances: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Draw:
    """Every Gaussian at every pixel, some pixels [P] at a time."""
    rows = torch.arange(view.height, device=view.means.device) + 0.5
    columns = torch.arange(view.width, device=view.means.device) + 0.5
    y, x = (v.flatten() for v in torch.meshgrid(rows, columns, indexing="ij"))
    at_once = max(1, _AT_ONCE[view.means.device.type] // max(1, len(view.means)))

    def draw(time: Tensor) -> Tensor:
        parts = [
            torch.exp(-0.5 * distances(time, some_x, some_y)) @ view.colors
            for some_x, some_y in zip(x.split(at_once), y.split(at_once))
        ]
        return torch.cat(parts).reshape(1, view.height, view.width, -1)

    return draw


def _kernels(view: VolumeView) -> Draw:
    budget = PairBudget()
    return lambda time: view.render(time, budget)


def _packed(view: VolumeView, tau: float) -> Draw:
    volumes, window = (
        pack_channels(view.means, view.cholesky, view.colors, tau, view.maps),
        (0, 0, view.width, view.height),
    )
    budgets = [ListBudget(volume.records.device) for volume in volumes]
    return lambda time: draw_channels(volumes, time, window, budgets, dtype=torch.float32)


def _active_only(view: VolumeView, everywhere: VolumeView) -> Draw:
    """Every Gaussian that is active in the frame in all of its tiles; choosing them waits for the device."""
    budget = PairBudget()

    def draw(time: Tensor) -> Tensor:
        _, peak, _ = slice_gaussians(view.means, view.cholesky, time)
        ids = (-2 * peak[0].log() <= view.cutoffs).nonzero()[:, 0]
        tensors = {name: getattr(everywhere, name)[ids] for name in ("means", "cholesky", "colors", "cutoffs")}
        return replace(everywhere, **tensors).render(time, budget)

    return draw


def _all_frames(draw: Draw, times: list[Tensor]) -> Callable[[], None]:
    def run() -> None:
        for time in times:
            draw(time)

    return run


def _compare(
    draw: Draw, times: list[Tensor], tiles: list[SampledTile], reference: list[Tensor]
) -> tuple[Errors, float]:
    images = torch.cat([draw(time) for time in times])
    drawn = [images[t.frame, t.ys, t.xs].cpu() for t in tiles]
    squares = [(image.double() - wanted).square().flatten() for image, wanted in zip(drawn, reference)]
    return image_errors(drawn, reference), -10 * math.log10(max(float(torch.cat(squares).mean()), 1e-30))
