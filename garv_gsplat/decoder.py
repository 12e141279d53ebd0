"""Decoding a `.garv`: any frame, in any order, without the ones before it."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from garv_gsplat.codec import load
from garv_gsplat.gaussians import VideoGaussians
from garv_gsplat.ops import ListBudget, can_record
from garv_gsplat.packing import draw_channels, pack_channels
from garv_gsplat.rendering import DECODING_TAU, view_volume
from garv_gsplat.replay import FrameReplay
from garv_gsplat.volume import VideoInfo

_PIXELS_AT_ONCE = 1 << 25  # bounds what a launch needs, whatever is asked for
_MAX_FRAMES = 32  # a launch; more gain nothing


class VideoDecoder:
    """Frames of a `.garv` as uint8 tensors [H, W, C] on the device.

    ::

        decoder = VideoDecoder("clip.garv")
        decoder[0]                          # [H, W, 3]
        decoder[-10:]                       # [10, H, W, 3]
        decoder.get_frames_at([5, 2, 99])   # [3, H, W, 3]
    """

    def __init__(
        self,
        source: str | os.PathLike | bytes | VideoGaussians,
        *,
        device: torch.device | str | None = None,
        tau: float = DECODING_TAU,
    ) -> None:
        """Open a `.garv`, a path or its bytes; or decode Gaussians that are at hand.

        device: where frames are decoded and stay; a GPU if there is one, else the CPU.
        tau: grey levels of 255 below which a Gaussian is left out of a tile of 16x16 pixels; 0 leaves out nothing.

        Raises GarvFormatError for what is not a whole `.garv`, OSError where the file cannot be read.
        """
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        gaussians = source if isinstance(source, VideoGaussians) else load(source)
        self.metadata: VideoInfo = gaussians.info
        """size and timing of the video"""
        self.num_gaussians = len(gaussians)
        with torch.no_grad():
            view = view_volume(gaussians, tau=tau)
            # Packed where the Gaussians are: for a file that is the host, and the device only ever holds the records.
            volumes = pack_channels(view.means, view.cholesky, view.colors, tau)
        self._volumes = [volume.to(self.device) for volume in volumes]
        self._budgets = [ListBudget() for _ in volumes]
        window = (0, 0, self.metadata.width, self.metadata.height)
        alone = can_record(self.device) and len(self._volumes) == 1
        self._replay = FrameReplay(self._volumes[0], window, self._budgets[0]) if alone else None
        # Times live on the device: uploading an index per call would wait for the frames before.
        self._centers = torch.arange(len(self), device=self.device, dtype=torch.float32) + 0.5

    def __len__(self) -> int:
        return self.metadata.frames

    def __getitem__(self, key: int | slice) -> Tensor:
        """Frame [H, W, C] for an index, frames [B, H, W, C] for a slice; negative indices count from the end."""
        if isinstance(key, slice):
            return self.get_frames_at(range(len(self))[key])
        return self.get_frames_at([key])[0]

    def __iter__(self) -> Iterator[Tensor]:
        """Every frame [H, W, C] in turn."""
        for batch in self.frames():
            yield from batch

    def get_frames_at(self, indices: Sequence[int] | Tensor) -> Tensor:
        """Frames uint8 [B, H, W, C] at indices [B], in that order; negative ones count from the end.

        Raises IndexError for an index outside of the video, TypeError for what is no whole number.
        """
        chosen = [self._index(i) for i in (indices.tolist() if isinstance(indices, Tensor) else indices)]
        step = self.frames_per_launch
        parts = [self._decode(chosen[start : start + step]) for start in range(0, max(1, len(chosen)), step)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def frames(self, batch: int | None = None) -> Iterator[Tensor]:
        """The whole video, `batch` frames uint8 [B, H, W, C] at a time; by default as many as one launch decodes."""
        batch = self.frames_per_launch if batch is None else batch
        if batch < 1:
            raise ValueError(f"batch must be at least 1 frame, got {batch}")
        for start in range(0, len(self), batch):
            yield self[start : start + batch]

    @property
    def frames_per_launch(self) -> int:
        """Frames that are decoded at once."""
        return min(_MAX_FRAMES, max(1, _PIXELS_AT_ONCE // (self.metadata.width * self.metadata.height)))

    def _decode(self, indices: list[int]) -> Tensor:
        first = indices[0] if indices else 0
        if indices == list(range(first, first + len(indices))):
            positions = self._centers[first : first + len(indices)]
        else:
            positions = torch.cat([self._centers[i : i + 1] for i in indices])
        if len(indices) == 1 and self._replay is not None:
            return self._replay.draw(positions)
        window = (0, 0, self.metadata.width, self.metadata.height)
        return draw_channels(self._volumes, positions, window, self._budgets)

    def _index(self, index: int) -> int:
        if isinstance(index, bool):
            raise TypeError(f"a frame is chosen by its number, got {index}; of a mask give the indices that it keeps")
        index, count = operator.index(index), len(self)
        if not -count <= index < count:
            raise IndexError(f"frame {index} does not exist: the video has {count} frames, {-count} to {count - 1}")
        return index % count
