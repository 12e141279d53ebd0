"""The codec `rans`: Gaussians without an order, every number by its own layer's and context's distribution.

The order of the Gaussians is free. A stream stores them in the order of the cells that their means lie in, and of the
cells only the gaps from one to the next: that costs log2 N - 1.44 bits a Gaussian less than the positions themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from garv_gsplat.codec import buckets
from garv_gsplat.codec.ans import Encoder
from garv_gsplat.codec.chunks import least_size
from garv_gsplat.codec.contexts import Contexts
from garv_gsplat.codec.numbers import Numbers
from garv_gsplat.codec.quantization import (
    AXES_SCALE,
    MAX_LAYERS,
    SCALE,
    Layer,
    Levels,
    dequantize,
)
from garv_gsplat.codec.tables import Table
from garv_gsplat.gaussians import VideoGaussians, energies
from garv_gsplat.ops import MAX_EXPONENT, MIN_EXPONENT, decode_levels
from garv_gsplat.volume import VideoInfo


@dataclass(frozen=True, eq=False)
class LayerModel:
    """What a file says about the streams of one layer."""

    layer: Layer
    gaps: Table
    attributes: list[Contexts]  # of the shape's six numbers and the colours

    @cached_property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Tables, heights, contexts and steps as `ops.decode_levels` takes them."""
        tables = [self.gaps, *(table for contexts in self.attributes for table in contexts.tables)]
        return (
            torch.tensor([[table.first, len(table.heights)] for table in tables]),
            torch.from_numpy(np.concatenate([table.heights for table in tables])),
            torch.tensor([contexts.row() for contexts in self.attributes]),
            torch.tensor(self.layer.steps),
        )


@dataclass(frozen=True, eq=False)
class Model:
    """What a file says about all of its streams."""

    info: VideoInfo
    color_step: float
    color_axes: np.ndarray
    layers: list[LayerModel]

    @classmethod
    def fit(cls, levels: Levels, chunks: list[np.ndarray]) -> Model:
        """The model for Gaussians in chunks of given indices."""
        layers = []
        for index, layer in enumerate(levels.layers[: levels.layer.max(initial=-1) + 1]):  # the last may be empty
            members = [chunk[levels.layer[chunk] == index] for chunk in chunks]
            places = [(np.take(levels.exponents, each, 0), np.take(levels.positions, each, 0)) for each in members]
            gaps = np.concatenate([np.zeros(0, np.int64), *(_gaps(layer, *place)[0] for place in places)])
            gaps = Table.fit(buckets.split_unsigned(gaps)[0])
            part = levels.take(levels.layer == index)
            attributes = np.concatenate([part.shapes, part.colors], 1)
            layers.append(LayerModel(layer, gaps, Contexts.fit(attributes)))
        return cls(levels.info, levels.color_step, levels.color_axes, layers)

    def numbers(self) -> list[int]:
        """What a file keeps of it."""
        step = int(np.float32(self.color_step).view(np.uint32))
        axes = np.rint(self.color_axes * AXES_SCALE).astype(np.int64)
        out = [step, *axes.ravel().tolist(), len(self.layers)]
        for model in self.layers:
            out += [model.layer.log_step, model.layer.ratio_step, model.layer.mean_step, *model.layer.cells]
            out += model.gaps.numbers()
            for contexts in model.attributes:
                out += contexts.numbers()
        return out

    @classmethod
    def parse(cls, numbers: Numbers, info: VideoInfo) -> Model:
        """The inverse of `numbers`; raises ValueError."""
        step = float(np.uint32(numbers.take(0, (1 << 32) - 1)).view(np.float32))
        if not 0 < step < np.inf:
            raise ValueError(f"the step of the colours is {step}; it must be positive")
        channels = info.channels
        axes = np.array(numbers.take_many(channels**2, -AXES_SCALE, AXES_SCALE)).reshape(channels, channels)
        layers = []
        for _ in range(numbers.take(0, MAX_LAYERS)):
            steps = numbers.take(1, 1 << 40), numbers.take(1, 1 << 40), numbers.take(-64 * SCALE, 64 * SCALE)
            layer = Layer(*steps, tuple(numbers.take_many(3, MIN_EXPONENT, MAX_EXPONENT)))
            gaps = Table.parse(numbers, buckets.NUM_UNSIGNED)
            layers.append(LayerModel(layer, gaps, [Contexts.parse(numbers, k) for k in range(6 + channels)]))
        return cls(info, step, axes / AXES_SCALE, layers)

    @property
    def num_layers(self) -> int:
        """Streams that a chunk has at most."""
        return len(self.layers)

    @property
    def steps(self) -> tuple[Layer, ...]:
        """The layers' steps."""
        return tuple(model.layer for model in self.layers)

    def first(self, layers: int) -> Model:
        """The model of the first layers alone."""
        return replace(self, layers=self.layers[:layers])

    def thinned(
        self, layer: int, streams: Sequence[tuple[int, bytes]], part: float
    ) -> tuple[Model, list[tuple[int, bytes]]]:
        """The given part of the Gaussians of streams of a layer, those of the most energy, and the model to code them.

        streams: of each the number of its Gaussians and its bytes.
        """
        levels = [self._best(layer, *stream, part) for stream in streams]
        layers = [*self.layers]
        found = [_gaps(layers[layer].layer, each.exponents, each.positions)[0] for each in levels]  # wider now
        gaps = Table.fit(buckets.split_unsigned(np.concatenate([np.zeros(0, np.int64), *found]))[0])
        layers[layer] = replace(layers[layer], gaps=gaps)
        model = replace(self, layers=layers)
        return model, [(len(each), model.encode(each) if len(each) else b"") for each in levels]

    def _best(self, layer: int, count: int, data: bytes, part: float) -> Levels:
        levels = self.decode_levels(layer, [count], [data])
        gaussians = dequantize(levels)
        energy = energies(gaussians.in_pixels()[1], gaussians.colors, self.info)
        return levels.take(energy.topk(round(part * count)).indices.numpy())

    def streams(self, levels: Levels) -> list[tuple[int, bytes]]:
        """Number of Gaussians and bytes of each layer of a chunk."""
        parts = [levels.take(levels.layer == layer) for layer in range(self.num_layers)]
        return [(len(part), self.encode(part) if len(part) else b"") for part in parts]

    def encode(self, part: Levels) -> bytes:
        """A stream of Gaussians of one layer."""
        model = self.layers[part.layer[0]]
        gaps, order, box = _gaps(model.layer, part.exponents, part.positions)
        part = part.take(order)
        coder = Encoder()
        _write_box(coder, box)
        found, bits, lengths = buckets.split_unsigned(gaps)
        model.gaps.encode(coder, found)
        coder.bits(bits, lengths)
        attributes = np.concatenate([part.shapes, part.colors], 1)
        split = buckets.split_signed(attributes)
        for k, contexts in enumerate(model.attributes):
            contexts.encode(coder, attributes, tuple(np.ascontiguousarray(part[:, k]) for part in split))
        finer = np.array(model.layer.cells) - part.exponents
        coder.bits(part.positions & ((1 << finer) - 1), finer)
        return coder.finish(least_size(len(part)))

    def decode(self, layer: int, counts: Sequence[int], streams: Sequence[bytes]) -> VideoGaussians:
        """The Gaussians of streams of a layer, `counts` of each; raises ValueError for what cannot be."""
        return dequantize(self.decode_levels(layer, counts, streams))

    def decode_levels(self, index: int, counts: Sequence[int], streams: Sequence[bytes]) -> Levels:
        """The inverse of `encode`, of streams of layer `index`; raises ValueError for what cannot be."""
        data = torch.from_numpy(np.frombuffer(bytearray().join(streams), np.uint8))
        sizes = torch.tensor([len(stream) for stream in streams], dtype=torch.int64)
        numbers = decode_levels(data, sizes, torch.tensor(counts, dtype=torch.int64), *self.layers[index].tensors)
        attributes, exponents, positions = (part.numpy().T for part in numbers)
        layer = np.full(len(attributes), index)
        shapes, colors = attributes[:, :6], attributes[:, 6:]
        return Levels(
            self.info, self.steps, self.color_step, self.color_axes, layer, shapes, colors, exponents, positions
        )


def _gaps(layer: Layer, exponents: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gaps between the cells [N] of Gaussians of one layer, the order that they are in, and the box of the cells.

    Cells are counted along x, then y, then t, from the box's origin on.
    """
    if len(positions) == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.array([[0, 0, 0], [1, 1, 1]])
    cells = positions >> np.array(layer.cells) - exponents
    origin = cells.min(0)
    places = cells - origin
    sides = places.max(0) + 1
    if np.prod(sides, dtype=np.float64) >= 1 << buckets.MAX_BITS:
        raise ValueError(f"a chunk has {' x '.join(map(str, sides))} cells, 2^{buckets.MAX_BITS} is the most")
    index = (places[:, 2] * sides[1] + places[:, 1]) * sides[0] + places[:, 0]
    order = np.argsort(index, kind="stable")
    return np.diff(index[order], prepend=0), order, np.stack([origin, sides])


def _write_box(coder: Encoder, box: np.ndarray) -> None:
    """Origin and sides of a box of cells: of each number, its bucket as seven bits, and the bits that follow it."""
    numbers = np.concatenate([np.where(box[0] >= 0, 2 * box[0], -2 * box[0] - 1), box[1] - 1])
    found, bits, lengths = buckets.split_unsigned(numbers)
    coder.bits(found, np.full(6, 7))
    coder.bits(bits, lengths)
