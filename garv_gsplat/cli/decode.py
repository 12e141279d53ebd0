"""`garv decode`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from garv_gsplat.cli import CommandError

if TYPE_CHECKING:
    from torch import Tensor

    from garv_gsplat.decoder import VideoDecoder
    from garv_gsplat.volume import VideoInfo


@dataclass
class Decode:
    """Decode a .garv file to a video or to images."""

    file: tyro.conf.Positional[Path]
    """the .garv to decode"""
    output: Path
    """a video to write (.mp4 or .mkv), or, without a suffix, a new folder of PNG files"""
    device: str | None = None
    """cpu, cuda or cuda:N; a GPU if there is one when not given"""

    def run(self) -> int:
        """Decode in batches; the exit code."""
        from garv_gsplat.cli.devices import parse_device
        from garv_gsplat.cli.display import progress_bars, result
        from garv_gsplat.decoder import VideoDecoder
        from garv_gsplat.video import VideoWriter

        if self.output.is_file() and self.file.exists() and self.output.samefile(self.file):
            raise CommandError(f"{self.output}: is the .garv itself, which would be overwritten; give another name")
        decoder = VideoDecoder(self.file, device=parse_device(self.device), dimension_order="NHWC")
        info = decoder.metadata
        with progress_bars() as bars:
            task = bars.add_task("decoding", total=info.frames, note="")
            if self.output.suffix:
                with VideoWriter(self.output, info) as writer:
                    _stream(decoder, writer.write, lambda n: bars.advance(task, n))
            else:
                with _image_folder(self.output, info) as write:
                    _stream(decoder, write, lambda n: bars.advance(task, n))
        result(f"{self.output}: {info.frames} frames of {info.width}x{info.height}")
        return 0


def _stream(decoder: VideoDecoder, write: Callable[[Tensor], None], advance: Callable[[int], None]) -> None:
    for frames in decoder.frames():
        write(frames)
        advance(len(frames))


@contextmanager
def _image_folder(folder: Path, info: VideoInfo) -> Iterator[Callable[[Tensor], None]]:
    """A function that appends frames to a new folder, which appears when all of them are written."""
    from PIL import Image

    from garv_gsplat.video import check_writable

    if info.channels not in (1, 3, 4):
        raise CommandError(f"{folder}: PNG files hold 1, 3 or 4 channels, the video has {info.channels}")
    if folder.exists():
        raise CommandError(f"{folder}: is already there; give the name of a new folder")
    check_writable(folder)
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    part.mkdir()
    written = 0

    def write(frames: Tensor) -> None:
        nonlocal written
        for pixels in frames.cpu().numpy():
            Image.fromarray(pixels.squeeze(-1) if info.channels == 1 else pixels).save(part / f"{written:06d}.png")
            written += 1

    try:
        yield write
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)  # gone already when all went well
