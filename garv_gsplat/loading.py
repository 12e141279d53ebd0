"""The Gaussians of a `.garv`, read when a part of the video first needs them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from garv_gsplat.codec import REACH_TAU, GarvFile
from garv_gsplat.gaussians import VideoGaussians, join

_PARTS = 3  # read one by one; what is packed is packed anew after each, so then comes all that is left
_BOXES = 4096  # whose chunks are remembered

Point = tuple[float, float, float]
"""x, y, t in pixels and frames"""


class LazyGaussians:
    """Holds what was read of a file, in the end all of it; or Gaussians that are at hand."""

    def __init__(self, source: GarvFile | VideoGaussians, tau: float) -> None:
        """tau: grey levels of 255 that a Gaussian may add where it is missing; a file's chunks keep to `REACH_TAU`."""
        self.source = source
        self.info = source.info
        self._read: set[int] = set()
        self._held: VideoGaussians | None = None
        self._whole = isinstance(source, VideoGaussians)
        if self._whole:
            self._held = source
            return
        self._parts_left = _PARTS if tau / 255 >= REACH_TAU else 0
        self._find = lru_cache(_BOXES)(source.find)

    def reaching(self, boxes: Iterable[tuple[Point, Point]]) -> VideoGaussians:
        """At least those that reach into one of the boxes, given by their lowest and highest points; where they are.

        The same object, until a box needs more. Raises GarvFormatError where bytes have changed.
        """
        if self._whole:
            return self._held
        missing = {chunk for low, high in boxes for chunk in self._find(low, high)} - self._read
        if missing or self._held is None:
            self._grow(missing)
        return self._held

    def close(self) -> None:
        """Let go of the file and of what was read."""
        self._held = None
        if isinstance(self.source, GarvFile):
            self.source.close()

    def _grow(self, missing: set[int]) -> None:
        everything = set(range(len(self.source.chunks)))
        if self._parts_left == 0:
            missing = everything - self._read
        more = self.source.read(sorted(missing))
        if self._held is not None:
            more = join([self._held, more])
        self._held = more
        self._read |= missing
        self._parts_left -= 1
        self._whole = self._read == everything
