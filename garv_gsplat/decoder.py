"""Decoding a `.garv`: any frame, in any order, without the ones before it."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from garv_gsplat.codec import load
from garv_gsplat.gaussians import VideoGaussians
from garv_gsplat.ops import PairBudget
from garv_gsplat.rendering import DECODING_TAU, view_volume
from garv_gsplat.volume import VideoInfo

_FLOAT_BYTES = 64 << 20  # of pixels before they become uint8: bounds what a launch needs, whatever is asked for
_MAX_FRAMES = 64  # a launch; more only make the Gaussians' lists longer


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
        self._pair_budget = PairBudget()
        with torch.inference_mode():
            self._view = view_volume(gaussians.to(self.device), tau=tau)
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
        info = self.metadata
        shape = (len(chosen), info.height, info.width, info.channels)
        # Made outside of inference mode, so that the caller may write into it.
        out = torch.empty(shape, dtype=torch.uint8, device=self.device)
        for start in range(0, len(chosen), self.frames_per_launch):
            self._decode(chosen[start : start + self.frames_per_launch], out[start : start + self.frames_per_launch])
        return out

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
        info = self.metadata
        return min(_MAX_FRAMES, max(1, _FLOAT_BYTES // (4 * info.width * info.height * info.channels)))

    @torch.inference_mode()
    def _decode(self, indices: list[int], out: Tensor) -> None:
        positions = torch.cat([self._centers[i : i + 1] for i in indices])
        image = self._view.render(positions, self._pair_budget)
        out.copy_(image.mul_(255).add_(0.5).clamp_(0, 255))  # half up: the copy to uint8 cuts the fraction off

    def _index(self, index: int) -> int:
        if isinstance(index, bool):
            raise TypeError(f"a frame is chosen by its number, got {index}; of a mask give the indices that it keeps")
        index, count = operator.index(index), len(self)
        if not -count <= index < count:
            raise IndexError(f"frame {index} does not exist: the video has {count} frames, {-count} to {count - 1}")
        return index % count
