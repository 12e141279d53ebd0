"""The `.garv` file: rounding, writing, reading. docs/format.md is its specification."""

from __future__ import annotations

from garv_gsplat.codec.container import file_bits, gaussians_for_bpp, load, read_header, save
from garv_gsplat.codec.errors import GarvFormatError
from garv_gsplat.codec.header import GarvHeader
from garv_gsplat.codec.quantization import Quantizer

__all__ = [
    "GarvFormatError",
    "GarvHeader",
    "Quantizer",
    "file_bits",
    "gaussians_for_bpp",
    "load",
    "read_header",
    "save",
]
