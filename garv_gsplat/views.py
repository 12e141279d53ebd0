"""What a call of the decoder shows, a crop at a size, and the packed Gaussians that it is drawn from."""

from __future__ import annotations

import math
import operator
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from fractions import Fraction
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from garv_gsplat.codec import GarvFile
from garv_gsplat.gaussians import VideoGaussians
from garv_gsplat.loading import LazyGaussians, Point
from garv_gsplat.ops import ListBudget, PairBudget, can_record
from garv_gsplat.packing import PackedVolume, draw_channels, join_volumes, pack_channels
from garv_gsplat.regions import crop_gaussians, crop_info
from garv_gsplat.rendering import VolumeView, view_plane, view_volume
from garv_gsplat.replay import FrameReplay
from garv_gsplat.volume import Box, VideoInfo

_PIXELS_AT_ONCE = 1 << 25  # bounds what a launch needs, whatever is asked for
_MAX_FRAMES = 32  # a launch; more gain nothing
_DTYPES = (torch.uint8, torch.float16, torch.float32)
_PACKED_ON_DEVICE = 1 << 18  # Gaussians at a time
_KEPT = 8  # views; a crop that moves by pixels of half the size needs four

View = TypeVar("View")

Window = tuple[int, int, int, int]
"""left, top, width, height in pixels"""


class Grid(NamedTuple):
    """The pixels of a video that was scaled: `scale` of them for each of its own, the first one `shift` further on."""

    scale: tuple[float, float]
    """along x and y"""
    shift: tuple[float, float]
    """in pixels of the grid, from 0 to below 1"""


NATIVE = Grid((1.0, 1.0), (0.0, 0.0))
"""the video's own pixels"""


def place(info: VideoInfo, crop: Window | None, size: tuple[int, int] | None) -> tuple[Grid, Window]:
    """The grid whose pixels show `crop` at `size`, and where on it they lie.

    Crops of one scale share a grid, those of the video's own scale all do. Raises ValueError for a crop that is empty
    or leaves the video, and for a size below 1x1; TypeError for what are no whole numbers.
    """
    if crop is None and size is None:
        return NATIVE, (0, 0, info.width, info.height)
    crop = check_crop(info, crop or (0, 0, info.width, info.height))
    size = _whole_numbers("size", size or crop[2:], "(w, h)")
    if min(size) < 1:
        raise ValueError(f"size must be at least 1x1, got {size[0]}x{size[1]}")
    scale = tuple(Fraction(n, m) for n, m in zip(size, crop[2:]))
    start = [n * s for n, s in zip(crop[:2], scale)]
    grid = Grid(tuple(map(float, scale)), tuple(float(n % 1) for n in start))
    return grid, (int(start[0]), int(start[1]), *size)


def check_crop(info: VideoInfo, crop: Sequence[int]) -> Window:
    """`crop` as whole numbers. Raises ValueError where it is empty or leaves the video."""
    x, y, width, height = crop = _whole_numbers("crop", crop, "(x, y, w, h)")
    if width < 1 or height < 1:
        raise ValueError(f"crop must hold a pixel, got {crop}: width and height are at least 1")
    if x < 0 or y < 0 or x + width > info.width or y + height > info.height:
        raise ValueError(f"crop {crop} leaves the video: x + w is 0 to {info.width}, y + h is 0 to {info.height}")
    return crop


def _whole_numbers(name: str, values: Sequence[int], form: str) -> tuple[int, ...]:
    values = tuple(map(operator.index, values))
    if len(values) != form.count(",") + 1:
        raise ValueError(f"{name} must be {form}, got {values}")
    return values


class FrameView:
    """Gaussians packed for images, ready to be drawn."""

    def __init__(self, size: tuple[int, int], volumes: list[PackedVolume], alone: bool) -> None:
        """size: of a whole image; volumes: one for every four channels; alone: whether whole ones are replayed."""
        self.size, self.volumes = size, volumes
        self._budgets = [ListBudget() for _ in volumes]
        self._whole = (0, 0, *size)
        self.replay = FrameReplay(volumes[0], self._whole, self._budgets[0]) if alone and len(volumes) == 1 else None

    def draw(self, positions: Tensor, window: Window, dtype: torch.dtype) -> Tensor:
        """Images [B, height, width, C] of a window at `positions` [B] in slices; uint8, or floats from 0 to 1."""
        if dtype == torch.uint8:
            if len(positions) == 1 and window == self._whole and self.replay is not None:
                return self.replay.draw(positions)
            return draw_channels(self.volumes, positions, window, self._budgets)
        return _convert(draw_channels(self.volumes, positions, window, self._budgets, dtype=torch.float32), dtype)


def _through(grid: Grid, gaussians: VideoGaussians, tau: float) -> VolumeView:
    """Gaussians carried to a grid."""
    ends = [(shift / scale, (shift + 1) / scale) for scale, shift in zip(*grid)]
    (x0, x1), (y0, y1) = ([end / n for end in pair] for pair, n in zip(ends, _size(gaussians.info)))
    # Any number of pixels gives the same map, so it is one.
    return view_volume(gaussians, size=(1, 1), crop=Box(x0=x0, y0=y0, x1=x1, y1=y1), tau=tau)


class Views:
    """The views of a decoder, each made when it is first asked for; those asked for last are kept. Thread-safe."""

    def __init__(self, source: GarvFile | VideoGaussians, tau: float, device: torch.device) -> None:
        self.source = LazyGaussians(source, tau)
        self.info = source.info
        self._tau, self._device = tau, device
        self._kept: OrderedDict[Hashable, tuple[int, Any]] = OrderedDict()  # how many parts they show, and they
        self._on_device: tuple[VideoGaussians | None, VideoGaussians | None] = (None, None)
        self._plane_budget = PairBudget()
        self._lock = threading.RLock()
        # Times live on the device: uploading an index per call would wait for the frames before.
        most = max(self.info.frames, *_size(self.info))
        self._centers = torch.arange(most, device=device, dtype=torch.float32) + 0.5  # of frames, rows and columns
        self._one_by_one: tuple[FrameReplay, tuple[Tensor, ...]] | None = None

    def frame(self, number: int) -> Tensor:
        """Frame `number` [height, width, C], uint8: what `draw` gives, with next to nothing to do before its launch."""
        if self._one_by_one is not None:
            replay, positions = self._one_by_one
            return replay.draw(positions[number])[0]
        image = self.draw([number], None, None, torch.uint8)[0]
        with self._lock:
            shown, view = self._kept.get(NATIVE, (0, None))
            if self.source.whole and shown == len(self.source.parts) and view.replay is not None:
                self._one_by_one = view.replay, self._centers[: self.info.frames].split(1)
        return image

    def draw(
        self,
        frames: Sequence[float],
        crop: Sequence[int] | None,
        size: Sequence[int] | None,
        dtype: torch.dtype,
    ) -> Tensor:
        """Images [B, height, width, C] of frames of given numbers; what the decoder's calls take beside them."""
        _check_dtype(dtype)
        view, window = self.prepare(frames, crop, size)
        step = frames_at_once(*window[2:])
        if len(frames) <= step:
            return view.draw(self._positions(frames), window, dtype)
        parts = [frames[start : start + step] for start in range(0, len(frames), step)]
        return torch.cat([view.draw(self._positions(part), window, dtype) for part in parts])

    def prepare(
        self, frames: Sequence[float], crop: Sequence[int] | None, size: Sequence[int] | None
    ) -> tuple[FrameView, Window]:
        """What frames are drawn from, and where on it they lie; all that they need is read at once."""
        grid, window = place(self.info, crop, size)
        with self._lock:
            self.source.reach(_boxes(frames, grid, window))
            return self._keep(grid, lambda shown, before: self._frame_view(grid, shown, before)), window

    def _frame_view(self, grid: Grid, shown: int, before: FrameView | None) -> FrameView:
        # Sorting and packing take some hundred bytes of each on the device; of the whole video 32 stay.
        volumes = self._packed(lambda part: _through(grid, part, self._tau), _PACKED_ON_DEVICE, shown, before)
        return FrameView(_size(self.info), volumes, alone=grid == NATIVE and can_record(self._device))

    def _scan_view(self, axis: str, size: tuple[int, int] | None, shown: int, before: FrameView | None) -> FrameView:
        def carry(part: VideoGaussians) -> VolumeView:
            return view_volume(part, size=size, axis=axis, tau=self._tau)

        across = {"x": (self.info.frames, self.info.height), "y": (self.info.width, self.info.frames)}[axis]
        return FrameView(size or across, self._packed(carry, math.inf, shown, before), alone=can_record(self._device))

    @torch.no_grad()
    def _packed(
        self, carry: Callable[[VideoGaussians], VolumeView], most: float, shown: int, before: FrameView | None
    ) -> list[PackedVolume]:
        """All parts, packed where `carry` puts them, of what shows the first of them: only the others are packed anew.

        most: Gaussians of a part that are packed on the device.
        """
        packed = [] if before is None else [before.volumes]
        for part in self.source.parts[shown:]:
            view = carry(part.to(self._device) if len(part) <= most else part)
            volumes = pack_channels(view.means, view.cholesky, view.colors, self._tau)
            packed.append([volume.to(self._device) for volume in volumes])
        return packed[0] if len(packed) == 1 else [join_volumes(parts) for parts in zip(*packed)]

    def reaching(self, low: Point, high: Point) -> VideoGaussians:
        """At least the Gaussians that reach into a box of x, y, t in pixels and frames; on the device."""
        with self._lock:
            self.source.reach([(low, high)])
            return self._moved(self.source.joined())

    @torch.no_grad()
    def cropped(self, box: Box) -> VideoGaussians:
        """The video inside of a box by the Gaussians that it needs, on the device; see `crop_gaussians`."""
        _, low, high = crop_info(self.info, box)
        return crop_gaussians(self.reaching(low, high), box, self._tau / 255)

    @torch.no_grad()
    def scan(self, axis: str, at: float, size: Sequence[int] | None, dtype: torch.dtype) -> Tensor:
        """A slice [height, width, C] across "x" or "y" at a column or row (GaRV eq. 7)."""
        _check_dtype(dtype)
        limit = {"x": self.info.width, "y": self.info.height}.get(axis)
        if limit is None:
            raise ValueError(f'axis must be "x" or "y", got {axis!r}; get_frame_at slices across time')
        if not 0 <= at <= limit - 1:
            raise ValueError(f"{axis} = {at} is not in the video: {axis} is 0 to {limit - 1}")
        size = None if size is None else _whole_numbers("size", size, "(w, h)")
        low, high = [0.0, 0.0, 0.0], [float(self.info.width), float(self.info.height), float(self.info.frames)]
        low["xy".index(axis)] = high["xy".index(axis)] = at + 0.5
        with self._lock:
            self.source.reach([(tuple(low), tuple(high))])
            view = self._keep((axis, size), lambda *made: self._scan_view(axis, size, *made))
        return view.draw(self._positions([at]), (0, 0, *view.size), dtype)[0]

    @torch.no_grad()
    def plane(
        self,
        origin: Sequence[float],
        u: Sequence[float],
        v: Sequence[float],
        size: Sequence[int],
        dtype: torch.dtype,
    ) -> Tensor:
        """The plane [height, width, C] that `view_plane` describes."""
        _check_dtype(dtype)
        size = _whole_numbers("size", size, "(w, h)")
        corners = [
            [o + i * a + j * b for o, a, b in zip(origin, u, v)] for i in (-1, size[0]) for j in (-1, size[1])
        ]  # and a step more all around, which is as far as antialiasing looks
        low, high = (tuple(f(n) + 0.5 for n in zip(*corners)) for f in (min, max))
        view = view_plane(self.reaching(low, high), origin, u, v, size, tau=self._tau)
        return _convert(view.render(self._positions([-0.5]), self._plane_budget)[0], dtype)

    def _keep(self, key: Hashable, make: Callable[[int, View | None], View]) -> View:
        """What `make` makes of how many parts the view before it showed, and of that; anew where there are more."""
        shown, view = self._kept.get(key, (0, None))
        if view is None or shown < len(self.source.parts):
            view = make(shown, view)
            self._kept[key] = (len(self.source.parts), view)
        self._kept.move_to_end(key)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return view

    def _moved(self, gaussians: VideoGaussians) -> VideoGaussians:
        """What `source` joined, on the device; the copy is kept until there is more."""
        if self._on_device[0] is not gaussians:
            self._on_device = (gaussians, gaussians.to(self._device))
        return self._on_device[1]

    def _positions(self, frames: Sequence[float]) -> Tensor:
        """Where frames lie in the volume [B], on the device; nothing waits for it."""
        if isinstance(frames, range) and frames.step > 0:
            return self._centers[frames.start : frames.stop : frames.step]
        if len(frames) == 1 and isinstance(frames[0], int):
            return self._centers[frames[0] : frames[0] + 1]
        pinned = torch.tensor(frames, dtype=torch.float32, pin_memory=self._device.type == "cuda")
        return pinned.to(self._device, non_blocking=True) + 0.5


def frames_at_once(width: int, height: int) -> int:
    """Frames of a size that one launch draws."""
    return min(_MAX_FRAMES, max(1, _PIXELS_AT_ONCE // (width * height)))


def _check_dtype(dtype: torch.dtype) -> None:
    if dtype not in _DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(map(str, _DTYPES))}, got {dtype}")


def _convert(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Sums of Gaussians as images show them: uint8, or floats from 0 to 1."""
    images = images.clamp(0, 1)
    return (255 * images).round().to(dtype) if dtype == torch.uint8 else images.to(dtype)


def _boxes(frames: Sequence[float], grid: Grid, window: Window) -> Iterator[tuple[Point, Point]]:
    """Boxes around the frames' pixels, and one pixel of the grid more, which is as far as antialiasing looks."""
    spans = [
        ((start + shift - 1) / scale, (start + shift + count + 1) / scale)
        for start, count, scale, shift in zip(window[:2], window[2:], *grid)
    ]
    (x0, x1), (y0, y1) = spans
    if isinstance(frames, range) and len(frames) and frames.step == 1:
        yield (x0, y0, frames[0] + 0.5), (x1, y1, frames[-1] + 0.5)
    else:
        yield from (((x0, y0, frame + 0.5), (x1, y1, frame + 0.5)) for frame in frames)


def _size(info: VideoInfo) -> tuple[int, int]:
    return info.width, info.height
