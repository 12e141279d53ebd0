"""Video as a sum of 3D Gaussians over (x, y, t): fit it, compress it to a `.garv`, decode any frame, crop or line scan.

Names are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module

__version__ = "0.1.0"

_HOME = {
    "Box": "volume",
    "ColorInfo": "volume",
    "VideoInfo": "volume",
    "Region": "gaze",
    "VideoGaussians": "gaussians",
    "rasterization": "rendering",
    "Video": "video",
    "VideoError": "video",
    "VideoWriter": "video",
    "read_info": "video",
    "read_tracks": "video",
    "read_video": "video",
    "video_from_array": "video",
    "FitConfig": "fitting",
    "FitMemoryError": "fitting",
    "FitResult": "fitting",
    "PRESETS": "fitting",
    "fit": "fitting",
    "GarvFormatError": "codec",
    "GarvFile": "codec",
    "load": "codec",
    "save": "codec",
    "mix": "regions",
    "mix_files": "mixing",
    "switch_files": "mixing",
    "VideoDecoder": "decoder",
    "Frame": "frame",
    "FrameBatch": "frame",
    "EncodeResult": "encoding",
    "encode": "encoding",
}
__all__ = sorted([*_HOME, "__version__"])


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value  # the next use finds it without coming here
    return value


def __dir__() -> list[str]:
    return __all__
