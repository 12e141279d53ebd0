"""The `.garv` file: rounding, writing, reading. docs/format.md is its specification."""

from __future__ import annotations

from garv_gsplat.codec.chunks import REACH_TAU
from garv_gsplat.codec.codecs import CODECS, Codec, find_codec
from garv_gsplat.codec.container import encode, encode_levels, load, save, with_tracks
from garv_gsplat.codec.errors import GarvFormatError, MissingLibraryError
from garv_gsplat.codec.file import GarvFile
from garv_gsplat.codec.forecast import forecast_bits
from garv_gsplat.codec.mixing import combine
from garv_gsplat.codec.motion import rounded_motion
from garv_gsplat.codec.quantization import DEFAULT_STEP, Levels, dequantize, quantize, with_colors
from garv_gsplat.codec.truncation import truncate

__all__ = [
    "CODECS",
    "Codec",
    "DEFAULT_STEP",
    "GarvFile",
    "GarvFormatError",
    "Levels",
    "MissingLibraryError",
    "REACH_TAU",
    "combine",
    "dequantize",
    "encode",
    "encode_levels",
    "find_codec",
    "forecast_bits",
    "load",
    "quantize",
    "rounded_motion",
    "save",
    "truncate",
    "with_colors",
    "with_tracks",
]
