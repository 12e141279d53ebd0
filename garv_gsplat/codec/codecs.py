"""The codecs by their names: how Gaussians become streams of bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from garv_gsplat.codec import rans
from garv_gsplat.codec.numbers import Numbers
from garv_gsplat.gaussians import VideoGaussians
from garv_gsplat.volume import VideoInfo

_MODELS = {"rans": rans.Model}


class Model(Protocol):
    """What a file says about its streams."""

    num_layers: int

    def first(self, layers: int) -> Model:
        """The model of the first layers alone."""

    def thinned(
        self, layer: int, streams: Sequence[tuple[int, bytes]], part: float
    ) -> tuple[Model, list[tuple[int, bytes]]]:
        """The given part of the Gaussians of a layer's streams, those of the most energy, and the model for them."""

    def numbers(self) -> list[int]:
        """What a file keeps of it."""

    def decode(self, layer: int, counts: Sequence[int], streams: Sequence[bytes]) -> VideoGaussians:
        """The Gaussians of streams of a layer, `counts` of each; raises ValueError for what cannot be."""


def parse_models(codec: str, numbers: Numbers, info: VideoInfo) -> list[Model]:
    """The models of a file: one, and of mixed files several; raises ValueError."""
    models = [_MODELS[codec].parse(numbers, info) for _ in range(numbers.take(1, 16))]
    numbers.finish()
    return models
