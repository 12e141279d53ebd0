"""The codecs by their names: how Gaussians become whole numbers, and those streams of bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from garv_gsplat.codec import plain, planes, quantization, rans, sog, uniform
from garv_gsplat.codec.numbers import Numbers
from garv_gsplat.gaussians import VideoGaussians
from garv_gsplat.volume import VideoInfo


class Levels(Protocol):
    """Gaussians as whole numbers, in any order."""

    info: VideoInfo

    def __len__(self) -> int: ...

    def take(self, chosen: np.ndarray) -> Levels:
        """The Gaussians of the given indices or mask."""

    def joined(self, others: Sequence[Levels]) -> Levels:
        """These Gaussians and others that the same model decoded, in turn."""


class Model(Protocol):
    """What a file says about its streams."""

    num_layers: int

    @classmethod
    def fit(cls, levels: Levels, chunks: list[np.ndarray]) -> Model:
        """The model for Gaussians in chunks of given indices."""

    def numbers(self) -> list[int]:
        """What a file keeps of it."""

    @classmethod
    def parse(cls, numbers: Numbers, info: VideoInfo) -> Model:
        """The inverse of `numbers`; raises ValueError."""

    def streams(self, levels: Levels) -> list[tuple[int, bytes]]:
        """Number of Gaussians and bytes of each layer of a chunk."""

    def decode_levels(self, layer: int, counts: Sequence[int], streams: Sequence[bytes]) -> Levels:
        """The Gaussians of streams of a layer, `counts` of each; raises ValueError for what cannot be."""

    def decode(self, layer: int, counts: Sequence[int], streams: Sequence[bytes]) -> VideoGaussians:
        """The same as they are drawn."""


class LayeredModel(Model, Protocol):
    """A model of streams that fall into layers of falling importance."""

    def first(self, layers: int) -> LayeredModel:
        """The model of the first layers alone."""

    def thinned(
        self, layer: int, streams: Sequence[tuple[int, bytes]], part: float
    ) -> tuple[LayeredModel, list[tuple[int, bytes]]]:
        """The given part of the Gaussians of a layer's streams, those of the most energy, and the model for them."""


@dataclass(frozen=True)
class Codec:
    """All that writing and reading need to know of a codec."""

    quantize: Callable[..., Levels]
    """of Gaussians, and of a step where `has_step`"""
    with_colors: Callable
    """of levels and other colours [N, C]"""
    dequantize: Callable[[Levels], VideoGaussians]
    model: type[Model]
    has_step: bool
    """whether numbers are rounded by a step that can be chosen; else the number of Gaussians alone decides the size"""
    doubling: float
    """bits that a Gaussian takes less in a file of twice as many, measured on fits; 1 for an order that is left free"""
    library: Callable[[], object] | None = None
    """loads what is only installed with an extra"""

    def round(self, gaussians: VideoGaussians, step: float | None = None) -> Levels:
        """Gaussians as whole numbers; raises ValueError for a step where there is none."""
        if step is None:
            return self.quantize(gaussians)
        if not self.has_step:
            raise ValueError("this codec rounds to given numbers of bits; leave the step out")
        return self.quantize(gaussians, step)

    def check(self) -> None:
        """Raises MissingLibraryError where a library that the codec needs is not installed."""
        if self.library is not None:
            self.library()


_UNIFORM = (uniform.quantize, uniform.with_colors, uniform.dequantize)
CODECS = {
    "rans": Codec(quantization.quantize, quantization.with_colors, quantization.dequantize, rans.Model, True, 1.0),
    "sog": Codec(*_UNIFORM, sog.Model, has_step=False, doubling=2.0, library=planes.imagecodecs),
    "paper16-8-8": Codec(*_UNIFORM, plain.Model, has_step=False, doubling=0.0),
}


def find_codec(name: str) -> Codec:
    """The codec of a name; raises ValueError where there is none."""
    if name not in CODECS:
        raise ValueError(f"codec must be one of {', '.join(CODECS)}, got {name!r}")
    return CODECS[name]


def parse_models(codec: str, numbers: Numbers, info: VideoInfo) -> list[Model]:
    """The models of a file: one, and of mixed files several; raises ValueError."""
    models = [CODECS[codec].model.parse(numbers, info) for _ in range(numbers.take(1, 16))]
    numbers.finish()
    return models
