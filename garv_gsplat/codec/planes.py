"""Planes of whole numbers in JPEG XL (ISO/IEC 18181), without loss, by the library imagecodecs."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from garv_gsplat.codec.errors import MissingLibraryError

# Of 7 and 9 planes of a fit come out no smaller, at 1.5 and 7 times the time. One image of 16 bits takes 2 % less than
# two of 8 bits.
_EFFORT = 5


def encode_plane(plane: np.ndarray) -> bytes:
    """A plane [H, W] of uint8 or uint16, at least 1x1; raises MissingLibraryError without imagecodecs."""
    # One thread, as the bytes must not depend on the machine.
    return imagecodecs().jpegxl_encode(plane, lossless=True, effort=_EFFORT, usecontainer=False, numthreads=1)


def decode_plane(data: bytes, dtype: type[np.unsignedinteger], shape: tuple[int, int]) -> np.ndarray:
    """The plane [H, W] that `encode_plane` coded, which is of the given type and shape.

    Raises ValueError for anything else, MissingLibraryError without imagecodecs. Nothing is allocated by what the
    bytes say: imagecodecs compares their header with `out` first.
    """
    library = imagecodecs()
    try:
        return library.jpegxl_decode(data, numthreads=1, out=np.empty(shape, dtype))
    except (RuntimeError, ValueError) as error:
        kind = np.dtype(dtype).name
        raise ValueError(f"a plane is no JPEG XL image of {shape[1]}x{shape[0]} {kind} ({error})") from error


def imagecodecs() -> ModuleType:
    """The library; raises MissingLibraryError where it is not installed."""
    try:
        import imagecodecs as library
    except ImportError as error:
        raise MissingLibraryError("the codec sog needs imagecodecs: pip install garv-gsplat[sog]") from error
    return library
