"""The `.garv` file: rounding, writing, reading. docs/format.md is its specification."""

from __future__ import annotations

from garv_gsplat.codec.chunks import REACH_TAU
from garv_gsplat.codec.container import DEFAULT_STEP, encode, encode_levels, load, save
from garv_gsplat.codec.errors import GarvFormatError
from garv_gsplat.codec.file import GarvFile
from garv_gsplat.codec.forecast import forecast_bits
from garv_gsplat.codec.quantization import Levels, dequantize, quantize, with_colors

__all__ = [
    "DEFAULT_STEP",
    "GarvFile",
    "GarvFormatError",
    "Levels",
    "REACH_TAU",
    "dequantize",
    "encode",
    "encode_levels",
    "forecast_bits",
    "load",
    "quantize",
    "save",
    "with_colors",
]
