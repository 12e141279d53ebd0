"""What is timed: launches over the same frames of a target, in each of the ways that the package renders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from garv_gsplat.bench.targets import Target
from garv_gsplat.decoder import VideoDecoder
from garv_gsplat.fitting.field import render_frames
from garv_gsplat.gaussians import VideoGaussians
from garv_gsplat.motion import maps_at, pixel_maps
from garv_gsplat.ops import ListBudget, PairBudget
from garv_gsplat.packing import PackedVolume, draw_channels, pack_channels
from garv_gsplat.rendering import VolumeView, color_cutoffs, view_volume
from garv_gsplat.volume import Box

Kind = Literal["forward", "decode", "forward+backward"]
Window = tuple[int, int, int, int]
"""left, top, width, height in pixels"""


@dataclass(frozen=True)
class Settings:
    """What all cases of a run share."""

    device: torch.device
    batches: tuple[int, ...]
    """frames a launch"""
    tau: float
    """of forward and decode, in grey levels of 255"""
    fit_tau: float
    """of forward+backward, in weights p(t) exp(-d/2)"""
    crop: tuple[int, int] | None
    """columns and rows of crops; 9/16 of each side if None"""


@dataclass(frozen=True)
class Case:
    """One row of the results."""

    kind: Kind
    mode: Literal["throughput", "latency"]
    batch: int
    cropped: bool = False

    def __str__(self) -> str:
        return f"{self.kind}{' of a crop' if self.cropped else ''}, {self.mode}, {self.frames}"

    @property
    def frames(self) -> str:
        """How many at once; the decoder itself may make several launches of a call."""
        if self.mode == "latency":
            return "1, alone"
        return f"{self.batch} a {'call' if self.kind == 'decode' else 'launch'}"


def cases(kinds: tuple[Kind, ...], batches: tuple[int, ...]) -> list[Case]:
    """Every launch size as throughput, and one frame alone as latency; crops of what is rendered, too."""
    found = []
    for kind in kinds:
        for cropped in (False, True) if kind == "forward" else (False,):
            found += [Case(kind, "throughput", batch, cropped) for batch in batches]
            if kind != "forward+backward":
                found.append(Case(kind, "latency", 1, cropped))
    return found


def chosen_frames(count: int, batches: tuple[int, ...]) -> list[int]:
    """As many of the video's frames as the largest launch has, evenly spread; every case renders them all."""
    wanted = max(batches)
    return [(2 * k + 1) * count // (2 * wanted) for k in range(wanted)]


def crop_window(gaussians: VideoGaussians, crop: tuple[int, int] | None) -> Window:
    """The middle `crop` pixels of the frames. Raises ValueError for a crop that is larger than they are."""
    info = gaussians.info
    width, height = crop or (max(1, round(info.width * 9 / 16)), max(1, int(info.height * 9 / 16 + 0.5)))
    if not (1 <= width <= info.width and 1 <= height <= info.height):
        raise ValueError(f"--crop must be within the frames of {info.width}x{info.height}, got {width}x{height}")
    return (info.width - width) // 2, (info.height - height) // 2, width, height


def crop_box(gaussians: VideoGaussians, crop: tuple[int, int] | None) -> Box:
    """`crop_window` in the unit cube."""
    return Box.from_pixels(gaussians.info, *crop_window(gaussians, crop))


def drawn_window(target: Target, case: Case, settings: Settings) -> Window:
    """The pixels of the video that the case renders."""
    info = target.gaussians.info
    return crop_window(target.gaussians, settings.crop) if case.cropped else (0, 0, info.width, info.height)


def exact_view(target: Target, case: Case, settings: Settings) -> VolumeView:
    """What the case renders in float64 on its device, with the cutoffs of its culling."""
    g = target.gaussians
    tensors = (t.to(settings.device, torch.float64) for t in (g.means, g.cholesky, g.colors))
    double = VideoGaussians(*tensors, g.info)
    view = view_volume(double, crop=crop_box(g, settings.crop) if case.cropped else None, tau=settings.tau)
    if case.kind == "forward+backward":
        view.cutoffs = color_cutoffs(torch.ones_like(view.colors[:, :1]), 255 * settings.fit_tau)
    return view


class Launches:
    """The launches of a case, one after the other over the chosen frames."""

    def __init__(self, target: Target, case: Case, settings: Settings, frames: list[int]) -> None:
        self.case = case
        self.sets = [frames[i : i + case.batch] for i in range(0, len(frames), case.batch)]
        self._next = 0
        make = {"forward": _forward, "decode": _decode, "forward+backward": _forward_backward}[case.kind]
        self._launch: Callable[[int], Tensor] = make(target, case, settings, self.sets)

    def images(self, index: int) -> Tensor:
        """Run launch `index` and return what it drew [B, H, W, C]."""
        return self._launch(index)

    def run_next(self) -> None:
        """One launch, in turn."""
        self._launch(self._next)
        self._next = (self._next + 1) % len(self.sets)

    def run_all(self) -> None:
        """Every launch once."""
        for index in range(len(self.sets)):
            self._launch(index)


def _positions(sets: list[list[int]], device: torch.device) -> list[Tensor]:
    return [torch.tensor(frames, dtype=torch.float32, device=device) + 0.5 for frames in sets]


def _forward(target: Target, case: Case, settings: Settings, sets: list[list[int]]) -> Callable[[int], Tensor]:
    volumes, window = pack_target(target, settings), drawn_window(target, case, settings)
    positions, budgets = _positions(sets, settings.device), [ListBudget(volume.records.device) for volume in volumes]
    motion = [maps_at(volumes[0].maps, some) for some in positions]
    return lambda index: draw_channels(volumes, positions[index], window, budgets, motion=motion[index])


def pack_target(target: Target, settings: Settings) -> list[PackedVolume]:
    """The whole video as decoding packs it; a crop of it is a window on the same volumes."""
    with torch.no_grad():
        view = view_volume(target.gaussians.to(settings.device), tau=settings.tau)
        return pack_channels(view.means, view.cholesky, view.colors, settings.tau, view.maps)


def _decode(target: Target, case: Case, settings: Settings, sets: list[list[int]]) -> Callable[[int], Tensor]:
    decoder = VideoDecoder(target.gaussians, device=settings.device, dimension_order="NHWC", tau=settings.tau)
    if max(map(len, sets)) == 1:  # an index is the shortest way to a frame alone
        return lambda index: decoder[sets[index][0]][None]
    return lambda index: decoder.get_frames_at(sets[index]).data


def _forward_backward(target: Target, case: Case, settings: Settings, sets: list[list[int]]) -> Callable[[int], Tensor]:
    leaves, render = fitted(target, settings)
    info, batch = target.gaussians.info, max(map(len, sets))
    v_image = random_gradient((batch, info.height, info.width, info.channels), settings.device)
    positions = _positions(sets, settings.device)

    def launch(index: int) -> Tensor:
        image = render(positions[index])
        torch.autograd.grad(image, leaves, v_image[: len(image)])
        return image.detach()

    return launch


def fitted(target: Target, settings: Settings) -> tuple[list[Tensor], Callable[[Tensor], Tensor]]:
    """Means, Cholesky factors and colours in pixels and frames as leaves, and what renders them as a fit does."""
    gaussians, budget = target.gaussians, PairBudget()
    leaves = [v.to(settings.device).clone().requires_grad_() for v in (*gaussians.in_pixels(), gaussians.colors)]
    size = (gaussians.info.width, gaussians.info.height)
    maps = pixel_maps(gaussians.info, settings.device)
    return leaves, lambda times: render_frames(*leaves, times, size, settings.fit_tau, budget, maps_at(maps, times))


def random_gradient(shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Gradients with respect to an image; random, for zeros could be faster than what a fit sees."""
    generator = torch.Generator(device).manual_seed(0)
    return torch.randn(shape, generator=generator, device=device)
