"""What a call of the decoder shows, a crop at a size, and the packed Gaussians that it is drawn from."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

from garv_gsplat.codec import GarvFile
from garv_gsplat.gaussians import VideoGaussians
from garv_gsplat.grids import NATIVE, Grid, Window, boxes, check_plane, check_size, place
from garv_gsplat.loading import LazyGaussians
from garv_gsplat.motion import Point, box_in_plane, pixel_maps
from garv_gsplat.ops import ListBudget, PairBudget
from garv_gsplat.packing import PackedVolume, draw_channels, join_volumes, pack_channels
from garv_gsplat.regions import colors_at, crop_info, gaussians_in
from garv_gsplat.rendering import VolumeView, view_plane, view_volume
from garv_gsplat.volume import Box, VideoInfo

_PIXELS_AT_ONCE = 1 << 25  # bounds what a launch needs, whatever is asked for
_MAX_FRAMES = 32  # a launch; more gain nothing
_BLOCK = 32  # pixels: Gaussians are listed, and lists given room, for squares of so many, of which a line fills a row
_DTYPES = (torch.uint8, torch.float16, torch.float32)
_PACKED_ON_DEVICE = 1 << 18  # Gaussians at a time
_KEPT = 8  # views; a crop that moves by pixels of half the size needs four

View = TypeVar("View")


class FrameView:
    """Gaussians packed for images, ready to be drawn."""

    def __init__(self, size: tuple[int, int], volumes: list[PackedVolume]) -> None:
        """size: of a whole image; volumes: one for every four channels."""
        self.size, self.volumes = size, volumes
        self._budgets = [ListBudget(volume.records.device) for volume in volumes]

    def motion(self, whole: slice | None) -> Tensor | None:
        """The maps [B, 6] of frames that follow each other, where the plane moves."""
        maps = self.volumes[0].maps
        return None if maps is None or whole is None else maps[whole]

    def draw(self, positions: Tensor, window: Window, dtype: torch.dtype, motion: Tensor | None = None) -> Tensor:
        """Images [B, height, width, C] of a window at `positions` [B] in slices; uint8, or floats from 0 to 1.

        motion: that of `PackedVolume.draw`.
        """
        if dtype == torch.uint8:
            return draw_channels(self.volumes, positions, window, self._budgets, motion=motion)
        images = draw_channels(self.volumes, positions, window, self._budgets, dtype=torch.float32, motion=motion)
        return _convert(images, dtype)


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
        self._tau, self._device, self._maps = tau, device, pixel_maps(source.info)
        self._kept: OrderedDict[Hashable, tuple[int, Any]] = OrderedDict()  # how many parts they show, and they
        self._on_device: tuple[VideoGaussians | None, VideoGaussians | None] = (None, None)
        self._plane_budget = PairBudget()
        self._lock = threading.RLock()
        # A view that shows everything, and what it takes of each frame.
        self._one_by_one: tuple[FrameView, list[tuple[Tensor, Tensor | None]]] | None = None

    @cached_property
    def _centers(self) -> Tensor:
        """Of frames, rows and columns, on the device: uploading an index per call would wait for the frames before."""
        most = max(self.info.frames, *_size(self.info))
        return torch.arange(most, device=self._device, dtype=torch.float32) + 0.5

    def frame(self, number: int) -> Tensor:
        """Frame `number` [height, width, C], uint8: what `draw` gives, with next to nothing to do before its launch."""
        if self._one_by_one is not None:
            view, places = self._one_by_one
            position, motion = places[number]
            return view.draw(position, (0, 0, *view.size), torch.uint8, motion)[0]
        image = self.draw([number], None, None, torch.uint8)[0]
        with self._lock:
            shown, view = self._kept.get(NATIVE, (0, None))
            if self.source.whole and shown == len(self.source.parts):
                positions, maps = self._centers[: self.info.frames, None].unbind(), view.volumes[0].maps
                motion = [None] * len(positions) if maps is None else maps[:, None].unbind()
                self._one_by_one = view, list(zip(positions, motion))
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
        return self._draw(view, frames, window, dtype, frames_at_once(*window[2:]))

    def _draw(self, view: FrameView, frames: Sequence[float], window: Window, dtype: torch.dtype, step: int) -> Tensor:
        """Images of a window of frames of given numbers, by launches of `step` of them."""
        if len(frames) <= step:
            return view.draw(self._positions(frames), window, dtype, view.motion(_followed(frames)))
        parts = [frames[start : start + step] for start in range(0, len(frames), step)]
        return torch.cat([self._draw(view, part, window, dtype, step) for part in parts])

    def prepare(
        self, frames: Sequence[float], crop: Sequence[int] | None, size: Sequence[int] | None
    ) -> tuple[FrameView, Window]:
        """What frames are drawn from, and where on it they lie; all that they need is read at once."""
        grid, window = place(self.info, crop, size)
        with self._lock:
            self.source.reach(boxes(frames, grid, window, self._maps))
            return self._keep(grid, lambda shown, before: self._frame_view(grid, shown, before)), window

    def _frame_view(self, grid: Grid, shown: int, before: FrameView | None) -> FrameView:
        # Sorting and packing take some hundred bytes of each on the device; of the whole video 32 stay.
        volumes = self._packed(lambda part: _through(grid, part, self._tau), _PACKED_ON_DEVICE, shown, before)
        return FrameView(_size(self.info), volumes)

    def _scan_view(self, axis: str, size: tuple[int, int], shown: int, before: FrameView | None) -> FrameView:
        def carry(part: VideoGaussians) -> VolumeView:
            return view_volume(part, size=size, axis=axis, tau=self._tau)

        return FrameView(size, self._packed(carry, math.inf, shown, before))

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
            volumes = pack_channels(view.means, view.cholesky, view.colors, self._tau, view.maps)
            packed.append([volume.to(self._device) for volume in volumes])
        joined = packed[0] if len(packed) == 1 else [join_volumes(parts) for parts in zip(*packed)]
        centers = self._centers  # made before they are waited for
        if centers.is_cuda:  # or other threads would draw on their streams what is not there yet
            torch.cuda.current_stream(self._device).synchronize()
        return joined

    def reaching(self, low: Point, high: Point) -> VideoGaussians:
        """At least the Gaussians that reach into a box of x, y, t in pixels and frames; on the device."""
        with self._lock:
            self.source.reach(map(box_in_plane, [self._maps], [low], [high]))  # made where something is left to read
            return self._moved(self.source.joined())

    @torch.no_grad()
    def cropped(self, box: Box) -> VideoGaussians:
        """The video inside of a box by the Gaussians that it needs, on the device; see `crop_gaussians`."""
        info, low, high = crop_info(self.info, box)
        return gaussians_in(self.reaching(low, high), info, low, high, self._tau / 255)

    @torch.no_grad()
    def scan(self, axis: str, at: float, size: Sequence[int] | None, dtype: torch.dtype) -> Tensor:
        """A slice [height, width, C] across "x" or "y" at a column or row (GaRV eq. 7)."""
        _check_dtype(dtype)
        limit = {"x": self.info.width, "y": self.info.height}.get(axis)
        if limit is None:
            raise ValueError(f'axis must be "x" or "y", got {axis!r}; get_frame_at slices across time')
        if not 0 <= at <= limit - 1:
            raise ValueError(f"{axis} = {at} is not in the video: {axis} is 0 to {limit - 1}")
        native = {"x": (self.info.frames, self.info.height), "y": (self.info.width, self.info.frames)}[axis]
        size = check_size(size or native)
        if self._maps is not None:
            return self._scan_by_frames(axis, at, size, dtype)
        low, high = [0.0, 0.0, 0.0], [float(self.info.width), float(self.info.height), float(self.info.frames)]
        low["xy".index(axis)] = high["xy".index(axis)] = at + 0.5
        with self._lock:
            self.source.reach([(tuple(low), tuple(high))])
            view = self._keep((axis, size), lambda *made: self._scan_view(axis, size, *made))
        return view.draw(self._positions([at]), (0, 0, *view.size), dtype)[0]

    def _scan_by_frames(self, axis: str, at: float, size: tuple[int, int], dtype: torch.dtype) -> Tensor:
        """`scan` of a plane that moves: a row or a column of the frame at every moment."""
        width, height, count = *_size(self.info), self.info.frames
        if axis == "y":
            across, moments = size
            grid, window = Grid((across / width, 1.0), (0.0, at % 1)), (0, int(at), across, 1)
        else:
            moments, across = size
            grid, window = Grid((1.0, across / height), (at % 1, 0.0)), (int(at), 0, 1, across)
        each = math.ceil(count / moments)  # moments that are averaged where fewer are shown than there are frames
        frames = range(count)
        if each * moments != count:
            frames = [(k + 0.5) * count / (each * moments) - 0.5 for k in range(each * moments)]
        with self._lock:
            self.source.reach(boxes(frames, grid, window, self._maps))
            view = self._keep(grid, lambda *made: self._frame_view(grid, *made))
        step = max(1, _PIXELS_AT_ONCE // (_BLOCK * max(_BLOCK, across)))
        lines = self._draw(view, frames, window, dtype if each == 1 else torch.float32, step)
        if each > 1:
            lines = _convert(lines.view(moments, each, across, -1).mean(1), dtype)
        lines = lines.view(moments, across, -1)
        return lines if axis == "y" else lines.transpose(0, 1)

    @torch.no_grad()
    def plane(
        self,
        origin: Sequence[float],
        u: Sequence[float],
        v: Sequence[float],
        size: Sequence[int],
        dtype: torch.dtype,
    ) -> Tensor:
        """The plane [height, width, C] that `view_plane` describes; of a plane of frames that moves, its points."""
        _check_dtype(dtype)
        size, (start, *steps) = check_size(size), check_plane(origin, u, v)
        corners = [
            [o + i * a + j * b for o, a, b in zip(origin, u, v)] for i in (-1, size[0]) for j in (-1, size[1])
        ]  # and a step more all around, which is as far as antialiasing looks
        low, high = (tuple(f(n) + 0.5 for n in zip(*corners)) for f in (min, max))
        gaussians = self.reaching(low, high)
        if self._maps is not None:
            j, i = torch.meshgrid(torch.arange(size[1]), torch.arange(size[0]), indexing="ij")
            points = start + i[..., None] * steps[0] + j[..., None] * steps[1]
            colors = colors_at(gaussians, points.view(-1, 3).to(self._device), self._tau / 255)
            return _convert(colors.view(size[1], size[0], -1), dtype)
        view = view_plane(gaussians, origin, u, v, size, tau=self._tau)
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
        if (followed := _followed(frames)) is not None:
            return self._centers[followed]
        pinned = torch.tensor(frames, dtype=torch.float32, pin_memory=self._device.type == "cuda")
        return pinned.to(self._device, non_blocking=True) + 0.5


def frames_at_once(width: int, height: int) -> int:
    """Frames of a size that one launch draws."""
    return min(_MAX_FRAMES, max(1, _PIXELS_AT_ONCE // (width * height)))


def _followed(frames: Sequence[float]) -> slice | None:
    """Frames as a slice of all frames, where they are one."""
    if isinstance(frames, range) and frames.step > 0:
        return slice(frames.start, frames.stop, frames.step)
    if len(frames) == 1 and isinstance(frames[0], int):
        return slice(frames[0], frames[0] + 1)
    return None


def _check_dtype(dtype: torch.dtype) -> None:
    if dtype not in _DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(map(str, _DTYPES))}, got {dtype}")


def _convert(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Sums of Gaussians as images show them: uint8, or floats from 0 to 1."""
    images = images.clamp(0, 1)
    return (255 * images).round().to(dtype) if dtype == torch.uint8 else images.to(dtype)


def _size(info: VideoInfo) -> tuple[int, int]:
    return info.width, info.height
