"""The Gaussians of a `.garv`, read when a part of the video first needs them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from garv_gsplat.codec import REACH_TAU, GarvFile
from garv_gsplat.gaussians import VideoGaussians, join
from garv_gsplat.motion import Point

_BOXES = 4096  # whose chunks are remembered


class LazyGaussians:
    """Holds what was read of a file, in the parts that it was read in; or Gaussians that are at hand."""

    def __init__(self, source: GarvFile | VideoGaussians, tau: float) -> None:
        """tau: grey levels of 255 that a Gaussian may add where it is missing; a file's chunks keep to `REACH_TAU`."""
        self.source = source
        self.info = source.info
        self.parts: list[VideoGaussians] = []
        """what was read, each part when something first needed it"""
        self.whole = isinstance(source, VideoGaussians)
        """whether nothing is left to read"""
        self._joined: VideoGaussians | None = None
        if self.whole:
            self.parts = [source]
            return
        self._unread = set(range(len(source.chunks)))
        self._by_parts = tau / 255 >= REACH_TAU
        self._find = lru_cache(_BOXES)(source.find)

    def reach(self, boxes: Iterable[tuple[Point, Point]]) -> None:
        """Have in `parts` all that reaches into one of the boxes, given by their lowest and highest points.

        Beyond that nothing is read until half of all Gaussians are there; what is needed next then brings all others.
        Raises GarvFormatError where bytes have changed.
        """
        if self.whole:
            return
        needed = {chunk for low, high in boxes for chunk in self._find(low, high)} if self._by_parts else self._unread
        missing = needed & self._unread
        if missing or not self.parts:
            if self.parts and self._left() <= sum(map(len, self.parts)):
                missing = self._unread  # one more reading, for each costs a good part of what reading everything does
            self.parts.append(self.source.read(sorted(missing)))
            self._unread = self._unread - missing
            self.whole = not self._unread

    def _left(self) -> int:
        """Gaussians that were not read."""
        return sum(self.source.chunks[chunk].count for chunk in self._unread)

    def joined(self) -> VideoGaussians:
        """All parts as one; the same object until there are more."""
        held = sum(map(len, self.parts))
        if self._joined is None or len(self._joined) < held:
            self._joined = self.parts[0] if len(self.parts) == 1 else join(self.parts)
        return self._joined

    def close(self) -> None:
        """Let go of the file and of what was read."""
        self.parts, self._joined = [], None
        if isinstance(self.source, GarvFile):
            self.source.close()
