"""Rate, quality and speed of files beside each other, and baselines to set beside them: what `garv compare` runs."""

from __future__ import annotations

from garv_gsplat.comparing.baselines import (
    ENCODERS,
    PRESETS,
    Baseline,
    check_encoder,
    encode_baseline,
    encoder_versions,
)
from garv_gsplat.comparing.bd_rate import MIN_POINTS, BdRate, NoBdRate, bd_rate, bd_rates, load_pchip
from garv_gsplat.comparing.clip import Clip, read_clip
from garv_gsplat.comparing.plot import SUFFIXES, Panel, draw_panels, load_figure, measured, save_plot
from garv_gsplat.comparing.points import BYTES_COUNTED, Point, check_size, curves, measure, measure_baseline

__all__ = [
    "BYTES_COUNTED",
    "ENCODERS",
    "MIN_POINTS",
    "PRESETS",
    "SUFFIXES",
    "Baseline",
    "BdRate",
    "Clip",
    "NoBdRate",
    "Panel",
    "Point",
    "bd_rate",
    "bd_rates",
    "check_encoder",
    "check_size",
    "curves",
    "draw_panels",
    "encode_baseline",
    "encoder_versions",
    "load_figure",
    "load_pchip",
    "measure",
    "measure_baseline",
    "measured",
    "read_clip",
    "save_plot",
]
