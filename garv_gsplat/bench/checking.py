"""The comparison that comes before every timing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from garv_gsplat.bench.cases import Case, Launches, Settings, drawn_window, exact_view, fitted, pack_target
from garv_gsplat.bench.counting import Counts, DrawWork, count, draw_work
from garv_gsplat.bench.reference import Reference, SampledTile, evaluate, sample_tiles
from garv_gsplat.bench.targets import Target

CHECKED = (
    "against eq. 3 in double precision on the sampled tiles, in grey levels of 255. `error`: nothing culled; "
    "`same_cull`: what the tiles' lists leave out is left out there, too. A uint8 image is compared with the reference "
    "rounded likewise, so that an error below half a level shows as 0 or 1."
)


Limit = tuple[str, float, float, str]
"""what is limited, its value, its bound, its unit"""


class CheckError(Exception):
    """What was about to be timed is wrong; one line."""


@dataclass(frozen=True)
class Bounds:
    """Errors that are accepted, in grey levels of 255."""

    mean: float = 0.1
    maximum: float = 0.5
    gradient: float = 1e-3
    """norm of the difference over the norm of the gradient: what the tests of the operators accept"""


@dataclass(frozen=True)
class Errors:
    """Errors of what a case draws, in grey levels of 255."""

    mean: float
    maximum: float


@dataclass(frozen=True)
class CheckResult:
    """What the check of a case found."""

    error: Errors
    same_cull: Errors | None
    """for forward+backward, whose threshold is the fit's: coarser than decoding's"""
    gradient: float | None
    """largest relative error of the gradients of means, cholesky and colors with the same cull"""


@dataclass(frozen=True, eq=False)
class Expected:
    """What a target should look like in one way of rendering, and the work that is in it."""

    width: int
    height: int
    complete: Reference
    same_cull: Reference | None
    v_tiles: list[Tensor]
    counts: Counts
    work: DrawWork | None
    """of the drawing operator, for forward and decode"""


def expect(target: Target, case: Case, settings: Settings, frames: list[int], tiles: int) -> Expected:
    """Evaluate the reference on `tiles` tiles of the chosen frames; on the case's device, kept on the CPU."""
    view = exact_view(target, case, settings)
    positions = torch.tensor(frames, dtype=torch.float64, device=settings.device) + 0.5
    samples = sample_tiles(len(frames), view.width, view.height, tiles)
    complete = evaluate(view, positions, samples)
    same_cull, v_tiles, work = None, [], None
    if case.kind == "forward+backward":
        generator = torch.Generator().manual_seed(1)
        v_tiles = [torch.randn(image.shape, generator=generator) for image in complete.images]
        same_cull = evaluate(view, positions, samples, culled=True, v_tiles=v_tiles)
    else:
        work = draw_work(pack_target(target, settings), positions.float(), drawn_window(target, case, settings))
    counts = count(view, positions, complete.pixel_pairs, work)
    return Expected(view.width, view.height, complete, same_cull, v_tiles, counts, work)


def check(launches: Launches, expected: Expected, target: Target, settings: Settings, bounds: Bounds) -> CheckResult:
    """Run every launch once and compare the sampled tiles. Raises CheckError where an error passes its bound."""
    drawn = _sampled(launches, expected.complete.tiles)
    what, error = f"{target.name}, {launches.case}", image_errors(drawn, expected.complete.images)
    if expected.same_cull is None:
        refuse_beyond(what, image_limits(error, bounds, drawn[0].dtype))
        return CheckResult(error, None, None)
    same_cull = image_errors(drawn, expected.same_cull.images)
    gradient = _gradient_error(launches, expected, target, settings)
    refuse_beyond(what, [*image_limits(same_cull, bounds), ("gradient error", gradient, bounds.gradient, "")])
    return CheckResult(error, same_cull, gradient)


def image_errors(drawn: list[Tensor], wanted: list[Tensor]) -> Errors:
    """Mean and largest absolute difference over all pixels and channels; NaN where there is one."""
    differences = []
    for image, reference in zip(drawn, wanted):
        if image.dtype == torch.uint8:
            reference = (reference * 255).clamp(0, 255).add(0.5).floor()
            differences.append((image.double() - reference).abs().flatten())
        else:
            differences.append((255 * (image.double() - reference)).abs().flatten())
    everything = torch.cat(differences)
    return Errors(float(everything.mean()), float(everything.max()))


def _sampled(launches: Launches, tiles: list[SampledTile]) -> list[Tensor]:
    drawn, batch = [], launches.case.batch
    for index in range(len(launches.sets)):
        images = launches.images(index)
        first = index * batch
        inside = [t for t in tiles if first <= t.frame < first + batch]
        drawn += [images[t.frame - first, t.ys, t.xs].cpu() for t in inside]  # tiles come by frame
    return drawn


def _gradient_error(launches: Launches, expected: Expected, target: Target, settings: Settings) -> float:
    """Carry gradients of the sampled tiles' pixels alone to the Gaussians."""
    (leaves, render), info, batch = fitted(target, settings), target.gaussians.info, launches.case.batch
    totals = [torch.zeros_like(leaf) for leaf in leaves]
    for index, frames in enumerate(launches.sets):
        v_image = torch.zeros(len(frames), info.height, info.width, info.channels, device=settings.device)
        for tile, v_tile in zip(expected.complete.tiles, expected.v_tiles):
            if tile.frame // batch == index:
                v_image[tile.frame % batch, tile.ys, tile.xs] = v_tile.to(settings.device)
        positions = torch.tensor(frames, dtype=torch.float32, device=settings.device) + 0.5
        for total, part in zip(totals, torch.autograd.grad(render(positions), leaves, v_image)):
            total += part
    errors = []
    for value, wanted in zip(totals, expected.same_cull.gradients):
        errors.append(float((value.cpu().double() - wanted).norm() / wanted.norm().clamp(min=1e-30)))
    return math.nan if any(math.isnan(e) for e in errors) else max(errors)


def image_limits(errors: Errors, bounds: Bounds, dtype: torch.dtype = torch.float32) -> list[Limit]:
    """The errors of images of `dtype` beside their bounds."""
    # An error below the bound moves a rounded value by at most this.
    maximum = math.floor(bounds.maximum) + 1 if dtype == torch.uint8 else bounds.maximum
    return [("mean error", errors.mean, bounds.mean, "/255"), ("maximum error", errors.maximum, maximum, "/255")]


def refuse_beyond(what: str, limits: list[Limit]) -> None:
    """Raise CheckError for the first value beyond its bound; NaN is beyond any."""
    for name, value, bound, unit in limits:
        if not value <= bound:
            raise CheckError(
                f"{what}: {name} {value:.3g}{unit} against double precision is beyond the bound of {bound:g}{unit}; "
                "not timed"
            )
