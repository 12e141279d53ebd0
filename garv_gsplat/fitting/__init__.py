"""Fitting a video: the trainable field, its start, its schedule, and the loop. Names are loaded when they are used."""

from __future__ import annotations

from importlib import import_module

_HOME = {
    "FitConfig": "config",
    "PRESETS": "config",
    "Preset": "config",
    "GaussianField": "field",
    "gaussians_for": "rate",
    "finish": "finishing",
    "FitRecipe": "recipe",
    "build_optimizer": "recipe",
    "FrameSampler": "sampling",
    "SeenFrames": "seen",
    "held_out": "seen",
    "seen_frames": "seen",
    "FitProgress": "trainer",
    "FitResult": "trainer",
    "fit": "trainer",
    "refine": "refining",
    "FitMemoryError": "memory",
    "check_memory": "memory",
}
__all__ = list(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
