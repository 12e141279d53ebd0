"""A folder of images (or a single one) as a video."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from garv_gsplat.video.frames import FrameBuffer, Video, VideoError, as_frame_rate
from garv_gsplat.video.timing import DEFAULT_RATE, Window
from garv_gsplat.volume import VideoInfo

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
EXIF_ORIENTATION = 0x0112
EXIF_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What each value of the orientation tag asks for; those from 5 on swap width and height."""


def is_image_path(path: Path) -> bool:
    """Whether this is read by Pillow, not by PyAV: a folder, or one image."""
    return path.is_dir() or path.suffix.lower() in SUFFIXES


def read_images(
    path: Path, window: Window, frame_rate: int | float | Fraction | None, on_frame: Callable[[int], None] | None
) -> Video:
    """Decode the images of a folder, in the natural order of their names."""
    files, info = _scan(path, window, frame_rate)
    buffer = FrameBuffer(info.height, info.width)
    notes: dict[str, None] = {}  # a set that keeps its order
    for file in files:
        pixels, remarks = _decode(file)
        buffer.append(pixels)
        notes.update(dict.fromkeys(remarks))
        if on_frame is not None:
            on_frame(buffer.count)
    return Video(buffer.finish(), info, tuple(notes))


def image_frames(path: Path, window: Window) -> Iterator[np.ndarray]:
    """The images of a folder one by one, [H, W, 3] uint8."""
    for file in _scan(path, window, None)[0]:
        yield _decode(file)[0]


def images_info(path: Path, window: Window, frame_rate: int | float | Fraction | None) -> VideoInfo:
    """Size and number of the images, from their headers alone."""
    return _scan(path, window, frame_rate)[1]


def _scan(path: Path, window: Window, frame_rate: int | float | Fraction | None) -> tuple[list[Path], VideoInfo]:
    """The files that the window keeps, all of one size, and what they make."""
    rate = DEFAULT_RATE if frame_rate is None else as_frame_rate(frame_rate, path.name)
    files = _list(path)
    chosen = window.select([k / rate for k in range(len(files))], Fraction(0))
    if not chosen:
        raise window.empty_error(path.name, (len(files) - 1) / rate)
    files = files[chosen.start : chosen.stop]
    size = _size(files[0])
    for file in files[1:]:
        other = _size(file)
        if other != size:
            raise VideoError(
                f"{path}: images of mixed sizes: {files[0].name} is {size[0]}x{size[1]}, "
                f"{file.name} is {other[0]}x{other[1]}; bring all of them to one size"
            )
    return files, VideoInfo(size[0], size[1], len(files), frame_rate=rate)


def _list(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    try:
        files = [file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")]
    except OSError as error:
        raise VideoError(f"{path}: the folder cannot be read ({error.strerror}); check its permissions") from error
    if not files:
        raise VideoError(f"{path}: a folder without images; put images in it ({' '.join(SUFFIXES)}) or give a video")
    return sorted(files, key=_natural_key)


def _natural_key(file: Path) -> tuple[list[tuple[int, str]], str]:
    """Sorts frame2 before frame10; names that differ only in leading zeros or case keep a fixed order."""
    parts = re.split(r"([0-9]+)", file.name.lower())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], file.name


def _open(file: Path) -> Image.Image:
    try:
        return Image.open(file)
    except (OSError, Image.DecompressionBombError) as error:
        reason = "not an image Pillow can open" if isinstance(error, UnidentifiedImageError) else str(error)
        raise VideoError(f"{file}: {reason}; replace or remove this file") from error


def _size(file: Path) -> tuple[int, int]:
    """Width and height as shown, from the header."""
    with _open(file) as image:
        width, height = image.size
        return (height, width) if _orientation(image) >= 5 else (width, height)


def _orientation(image: Image.Image) -> int:
    """1 to 8; from the header, without the decoding that PNG's own `getexif` does."""
    value = Image.Image.getexif(image).get(EXIF_ORIENTATION, 1)
    return value if value in EXIF_TURNS else 1


def _decode(file: Path) -> tuple[np.ndarray, list[str]]:
    """[H, W, 3] uint8, and what to tell the user."""
    with _open(file) as image:
        remarks = _remarks(image)
        try:
            turn = EXIF_TURNS.get(_orientation(image))
            upright = image if turn is None else image.transpose(turn)
            if upright.mode.startswith("I") or upright.mode == "F":
                return _from_wide_grey(np.asarray(upright), file), remarks
            return np.asarray(upright.convert("RGB")), remarks
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:  # SyntaxError: broken PNG chunks
            raise VideoError(f"{file}: the image is damaged ({error}); replace or remove this file") from error


def _remarks(image: Image.Image) -> list[str]:
    """Must be called before the pixels are loaded: the depth of 16-bit RGB stands only in the tile's raw mode."""
    remarks = []
    if image.mode.startswith("I") or any(";16" in str(tile) for tile in image.tile):
        remarks.append("16-bit images: taken as 8-bit RGB")
    if image.mode in ("1", "L", "LA", "F") or image.mode.startswith("I"):
        remarks.append("grey images: taken as 8-bit RGB")
    if "A" in image.getbands() or "transparency" in image.info:
        remarks.append("images with transparency: it is dropped")
    if _orientation(image) != 1:
        remarks.append("images turned as their EXIF orientation says")
    return remarks


def _from_wide_grey(values: np.ndarray, file: Path) -> np.ndarray:
    """Scale 16-bit grey [H, W] to [H, W, 3] uint8; Pillow's own conversion clips it instead."""
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > 65535:
        raise VideoError(f"{file}: holds {values.dtype} values of unknown range; save it with 8 or 16 bits a channel")
    grey = ((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)
