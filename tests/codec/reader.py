"""A reader written from docs/format.md, sharing nothing with the package."""

from __future__ import annotations

import struct
import zlib
from fractions import Fraction

import imagecodecs
import numpy as np


def numbers_of(data: bytes) -> list[int]:
    """A list of numbers."""
    out, value, shift = [], 0, 0
    for byte in zlib.decompress(data):
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            out.append(value // 2 if value % 2 == 0 else -(value + 1) // 2)
            value = shift = 0
    return out


class Coder:
    """A stream of asymmetric numeral systems."""

    def __init__(self, data: bytes) -> None:
        self.words = list(struct.unpack(f"<{len(data) // 4}I", data))
        self.state = self.words.pop()
        self._refill()

    def _refill(self) -> None:
        if self.state < 1 << 32 and self.words:
            self.state = self.state << 32 | self.words.pop()

    def _advance(self, low: int, high: int) -> None:
        self.state = (self.state >> 24) * (high - low) + (self.state & 0xFFFFFF) - low
        self._refill()

    def symbols(self, table: tuple[int, list[int]], count: int) -> list[int]:
        """Buckets of a table."""
        first, cumulative = table
        out = []
        for _ in range(count):
            k = int(np.searchsorted(cumulative, self.state & 0xFFFFFF, side="right")) - 1
            self._advance(cumulative[k], cumulative[k + 1])
            out.append(first + k)
        return out

    def bits(self, counts: list[int]) -> list[int]:
        """Numbers of so many bits each."""
        out = [0] * len(counts)
        for shift in range(0, max(counts, default=0), 20):
            for k, count in enumerate(counts):
                if (here := min(count - shift, 20)) > 0:
                    size = (1 << 24) >> here
                    symbol = min((self.state & 0xFFFFFF) // size, (1 << here) - 1)
                    self._advance(symbol * size, 1 << 24 if symbol + 1 == 1 << here else (symbol + 1) * size)
                    out[k] |= symbol << shift
        return out


def bits_after(bucket: int) -> int:
    return max(bucket // 2 - 1, 0)


def unsigned(bucket: int, bits: int) -> int:
    return ((2 + bucket % 2 if bucket > 1 else 1) << bits_after(bucket) | bits) - 1


def bits_of_signed(bucket: int) -> int:
    return bits_after((bucket - 41) // 2) if bucket > 40 else 0


def signed(bucket: int, bits: int) -> int:
    size = unsigned((bucket - 41) // 2, bits) + 21 if bucket > 40 else 0
    return bucket - 20 if bucket <= 40 else (size if bucket % 2 else -size)


class Model:
    """What a file says about its streams."""

    def __init__(self, numbers: list[int], channels: int) -> None:
        take = iter(numbers).__next__

        def table() -> tuple[int, list[int]]:
            first, count = take(), take()
            heights = np.cumsum([take() for _ in range(count)]).tolist()
            heights = heights if count > 1 else [52, 0]
            weights = [(1448 if h % 2 else 1024) << h // 2 for h in heights]
            scale = (2.0**24 - len(weights)) / float(sum(weights))
            cumulative = [int(float(sum(weights[:i])) * scale) + i for i in range(len(weights))]
            return first, [*cumulative, 1 << 24]

        assert take() == 1
        self.color_step = struct.unpack("<f", struct.pack("<I", take()))[0]
        self.axes = np.array([take() for _ in range(channels**2)]).reshape(channels, channels) / 2.0**30
        self.layers = []
        for _ in range(take()):
            layer = {"steps": [take() for _ in range(3)], "cells": [take() for _ in range(3)], "gaps": table()}
            layer["contexts"] = []
            for _ in range(6 + channels):
                source, magnitude, count = take(), take(), take()
                thresholds = [take() for _ in range(count)]
                layer["contexts"].append((source, magnitude, thresholds, [table() for _ in range(count + 1)]))
            self.layers.append(layer)

    def attributes(self, coder: Coder, layer: dict, count: int) -> list[list[int]]:
        """Levels of l_tt, l_xx, l_yy, the ratios and the colours."""
        found: list[list[int]] = []
        for source, magnitude, thresholds, tables in layer["contexts"]:
            values = found[source] if source >= 0 else [0] * count
            values = [abs(v) for v in values] if magnitude else values
            which = [sum(threshold <= v for threshold in thresholds) for v in values]
            buckets = [0] * count
            for k, table in enumerate(tables):
                members = [n for n in range(count) if which[n] == k]
                for n, bucket in zip(members, coder.symbols(table, len(members))):
                    buckets[n] = bucket
            bits = coder.bits([bits_of_signed(bucket) for bucket in buckets])
            found.append([signed(bucket, more) for bucket, more in zip(buckets, bits)])
        return found

    def decode(self, layer: dict, count: int, data: bytes) -> list[list[float]]:
        """Rows of means, Cholesky factors and colours, in pixels and frames."""
        coder = Coder(data)
        buckets = coder.bits([7] * 6)
        box = [unsigned(b, more) for b, more in zip(buckets, coder.bits([bits_after(b) for b in buckets]))]
        origin, (width, height) = [v // 2 if v % 2 == 0 else -(v + 1) // 2 for v in box[:3]], (box[3] + 1, box[4] + 1)
        buckets = coder.symbols(layer["gaps"], count)
        gaps = [unsigned(b, more) for b, more in zip(buckets, coder.bits([bits_after(b) for b in buckets]))]
        cells = np.cumsum(np.array(gaps, np.int64)).tolist()
        levels = list(zip(*self.attributes(coder, layer, count)))
        exponents = [exponents_of(row, layer) for row in levels]
        finer = [cell - e for each in exponents for cell, e in zip(layer["cells"], each)]
        rest = coder.bits(finer)
        log_step, ratio_step, _ = layer["steps"]
        rows = []
        for n, row in enumerate(levels):
            place = (cells[n] % width, cells[n] // width % height, cells[n] // (width * height))
            means = []
            for axis in range(3):
                p = (place[axis] + origin[axis] << finer[3 * n + axis]) + rest[3 * n + axis]
                means.append((p + 0.5) * 2.0 ** exponents[n][axis])
            tt, xx, yy = (2.0 ** (q * log_step / 65536) for q in row[:3])
            xt, yt, yx = (q * ratio_step / 65536 for q in row[3:6])
            colors = np.array(row[6:]) * (self.color_step / np.sqrt(tt * xx * yy)) @ self.axes
            rows.append([*means, tt, xt * xx, yt * yy, xx, yx * yy, yy, *colors.tolist()])
        return rows


def quarters(value: float) -> int:
    """How many powers of 2^(1/2) from 2^(1/2) on are at most the value."""
    count = 0
    while 2.0 ** ((count + 1) // 2) * (1.4142135623730951 if (count + 1) % 2 else 1.0) <= value:
        count += 1
    return count


def exponents_of(row: tuple[int, ...], layer: dict) -> list[int]:
    """log2 of the steps of x, y, t."""
    log_step, ratio_step, mean_step = layer["steps"]
    tt, xx, yy = (q * log_step for q in row[:3])
    a, b, c = (q * (ratio_step / 65536) for q in row[3:6])
    lean_x, lean_t = 1 + c * c, (1 + a * a) + (b - c * a) * (b - c * a)
    sizes = [mean_step + xx - 16384 * quarters(lean_x), mean_step + yy, mean_step + tt - 16384 * quarters(lean_t)]
    return [min(max(size + 32768 >> 16, -20), cell) for size, cell in zip(sizes, layer["cells"])]


class UniformModel:
    """What a file says about its streams where attributes are rounded evenly: the codecs sog and paper16-8-8."""

    layers = (None,)

    def __init__(self, numbers: list[int], channels: int) -> None:
        count, *bits = numbers
        assert count == 1 and len(bits) == 2 * (9 + channels)
        self.low, self.high = np.array(bits, np.uint32).view(np.float32).astype(np.float64).reshape(2, -1)

    def decode(self, layer: None, count: int, data: bytes) -> list[list[float]]:
        """Rows of means, Cholesky factors and colours, in pixels and frames."""
        rows = [
            low + np.asarray(plane, np.float64).ravel()[:count] * (high - low) / (65535 if k < 3 else 255)
            for k, (plane, low, high) in enumerate(zip(self.planes(count, data), self.low, self.high))
        ]
        return np.stack(rows, 1).tolist()


class PaperModel(UniformModel):
    def planes(self, count: int, data: bytes) -> list[np.ndarray]:
        """The levels of each attribute."""
        bytes_each = [2] * 3 + [1] * (len(self.low) - 3)
        ends = np.cumsum([0, *bytes_each]) * count
        assert len(data) == ends[-1]
        return [np.frombuffer(data[a:b], f"<u{size}") for a, b, size in zip(ends, ends[1:], bytes_each)]


class SogModel(UniformModel):
    def planes(self, count: int, data: bytes) -> list[np.ndarray]:
        """The levels of each attribute."""
        sizes = struct.unpack_from(f"<{len(self.low)}I", data)
        ends = 4 * len(sizes) + np.cumsum([0, *sizes])
        planes = [imagecodecs.jpegxl_decode(data[a:b]) for a, b in zip(ends, ends[1:])]
        side = int(np.ceil(np.sqrt(count)))
        assert all(plane.shape == (side, side) for plane in planes)
        return planes


def maps_of(numbers: list[int]) -> list[list[float]]:
    """The maps of the section motion, a row of xx, xy, yx, yy, x, y a frame."""
    frames = len(numbers) // 6
    columns = []
    for start in range(0, len(numbers), frames):
        before, last, column = 0, 0, []
        for number in numbers[start : start + frames]:
            before, last = last, number + 2 * last - before
            column.append(last / 2.0**18)
        columns.append(column)
    return [[xx + 1, xy, yx, yy + 1, x, y] for xx, xy, yx, yy, x, y in zip(*columns)]


def values_at(file: dict, i: int, j: int, t: float) -> np.ndarray:
    """The channels of pixel column i, row j at time t in frames, not limited."""
    width, height, frames, _ = file["size"]
    place = min(max(t - 0.5, 0), frames - 1)
    k = min(int(place), frames - 2)
    a, b = (np.array(file["motion"][n]) for n in (k, k + 1))
    xx, xy, yx, yy, mx, my = a + (b - a) * (place - k)
    sides = [i + 0.5 - width * mx, j + 0.5 - height * my]
    x, y = np.linalg.solve([[xx, xy * width / height], [yx * height / width, yy]], sides)
    total = 0
    for row in file["gaussians"]:
        m, (tt, xt, yt, l_xx, l_yx, l_yy), color = row[:3], row[3:9], row[9:]
        z = np.linalg.solve([[tt, 0, 0], [xt, l_xx, 0], [yt, l_yx, l_yy]], [t - m[2], x - m[0], y - m[1]])
        total = total + color * np.exp(-z @ z / 2)
    return total


MODELS = (Model, SogModel, PaperModel)


def read(data: bytes) -> dict:
    """Everything in a file."""
    assert data[:8] == bytes.fromhex("8947415256 0D0A1A")
    version, codec, size, width, height, frames, numerator, denominator = struct.unpack_from("<HHIIIIQQ", data, 8)
    channels, rotation, primaries, transfer, matrix, full_range, count, _ = data[44:52]
    assert size == 52 + 24 * count + 4
    assert struct.unpack_from("<I", data, size - 4)[0] == zlib.crc32(data[: size - 4])
    sections, end = {}, size
    for row in range(count):
        key, crc, offset, length = struct.unpack_from("<BxxxIQQ", data, 52 + 24 * row)
        assert offset == end and crc == (0 if key == 4 else zlib.crc32(data[offset : offset + length]))
        sections[key], end = data[offset : offset + length], offset + length
    assert end == len(data)
    assert version == (2 if 0 in sections else 1)
    model = MODELS[codec](numbers_of(sections[2]), channels)
    take = iter(numbers_of(sections[3])).__next__
    rows, at, reaches = [], 0, []
    for _ in range(take()):
        assert take() == 0
        low, sides = [take() for _ in range(3)], [take() for _ in range(3)]
        reaches.append((low, [a + b for a, b in zip(low, sides)]))
        for layer in model.layers[: take()]:
            members, length, crc = take(), take(), take()
            stream = sections[4][at : at + length]
            assert zlib.crc32(stream) == crc
            rows += model.decode(layer, members, stream) if members else []
            at += length
    ticks = numbers_of(sections[1]) if 1 in sections else None
    return {
        "size": (width, height, frames, channels),
        "frame_rate": Fraction(numerator, denominator),
        "color": (primaries, transfer, matrix, (None, False, True)[full_range]),
        "rotation": rotation,
        "timestamps": ticks and tuple(Fraction(int(total), ticks[0]) for total in np.cumsum(ticks[1:])),
        "gaussians": np.array(rows).reshape(-1, 9 + channels),
        "motion": maps_of(numbers_of(sections[0])) if 0 in sections else None,
        "reaches": reaches,
        "tracks": sections.get(5),
    }
