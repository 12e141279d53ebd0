"""`garv decode`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from garv_gsplat.cli import CommandError
from garv_gsplat.cli.outputs import new_folder

if TYPE_CHECKING:
    from torch import Tensor

    from garv_gsplat.volume import VideoInfo


STDOUT = Path("-")


@dataclass
class Decode:
    """Decode a .garv file, or a part of it, to a video, to images, or to another program.

    Example: garv decode video.garv --output part.mp4 --time 1 3 --crop 320 180 640 360 --fps 120
    """

    file: tyro.conf.Positional[Path]
    """the .garv to decode"""
    output: Path
    """a video to write (.mp4 or .mkv), or, without a suffix, a new folder of PNG files, or - for y4m on stdout"""
    frames: tuple[int, int] | None = None
    """number of the first frame and of the one after the last, counted from 0; all if not given"""
    time: tuple[float, float] | None = None
    """seconds from and to which frames are decoded, instead of --frames"""
    crop: tuple[int, int, int, int] | None = None
    """left, top, width and height in pixels of the part to show; whole frames if not given"""
    size: tuple[int, int] | None = None
    """width and height to show it at"""
    fps: float | None = None
    """frames per second, each rendered at its own moment; more than the video has play smoothly when slowed down"""
    raw: bool = False
    """with --output -: RGB bytes without headers instead of y4m"""
    audio: bool = True
    """whether the sound and subtitles that ride along are put back"""
    device: str | None = None
    """cpu, cuda or cuda:N; a GPU if there is one when not given"""

    def run(self) -> int:
        """Decode in batches; the exit code."""
        from garv_gsplat.cli.devices import parse_device
        from garv_gsplat.cli.display import progress_bars, result, tell
        from garv_gsplat.cli.selection import chosen_frames, keep_source, shown_info
        from garv_gsplat.codec import GarvFile
        from garv_gsplat.decoder import VideoDecoder
        from garv_gsplat.grids import place

        keep_source(self.output, self.file)
        if self.raw and self.output != STDOUT:
            raise CommandError("--raw goes with --output - alone")
        decoder = VideoDecoder(self.file, device=parse_device(self.device), dimension_order="NHWC")
        numbers = chosen_frames(decoder.metadata, self.frames, self.time, self.fps)
        try:
            _, window = place(decoder.metadata, self.crop, self.size)
        except ValueError as error:
            raise CommandError(str(error)) from error
        info = shown_info(decoder.metadata, numbers, window[2:], self.fps)
        tracks, notes = GarvFile(self.file).tracks() if self.audio else None, []
        if tracks is not None and numbers != range(len(decoder)):
            tracks = None
            notes.append("sound and subtitles are left out: they belong to the whole video")
        with progress_bars() as bars, self._open(info, tracks, notes) as write:
            task = bars.add_task("decoding", total=info.frames, note="")
            for frames in decoder.frames(numbers, crop=self.crop, size=self.size):
                write(frames)
                bars.advance(task, len(frames))
        for note in notes:
            tell(f"note: {note}")
        say = tell if self.output == STDOUT else result
        say(f"{self.output}: {info.frames} frames of {info.width}x{info.height}")
        return 0

    @contextmanager
    def _open(self, info: VideoInfo, tracks: bytes | None, notes: list[str]) -> Iterator[Callable[[Tensor], None]]:
        """What takes the frames of a video, for whatever --output is; adds notes on what of the tracks is left out."""
        from garv_gsplat.video import PipeWriter, VideoWriter

        if self.output == STDOUT:
            with open(1, "wb", closefd=False) as stream:  # bytes, past sys.stdout's text
                yield PipeWriter(stream, info, raw=self.raw).write
        elif self.output.suffix:
            with VideoWriter(self.output, info, tracks) as writer:
                yield writer.write
            notes += writer.notes
            return
        else:
            with _image_folder(self.output, info) as write:
                yield write
        if tracks is not None:
            notes.append("sound and subtitles are left out: only .mp4 and .mkv hold them")


def check_png(path: Path, info: VideoInfo) -> None:
    """CommandError where PNG files cannot hold the video's channels."""
    if info.channels not in (1, 3, 4):
        raise CommandError(f"{path}: PNG files hold 1, 3 or 4 channels, the video has {info.channels}")


@contextmanager
def _image_folder(folder: Path, info: VideoInfo) -> Iterator[Callable[[Tensor], None]]:
    """A function that appends frames to a new folder, which appears when all of them are written."""
    from PIL import Image

    check_png(folder, info)
    written = 0

    def write(frames: Tensor) -> None:
        nonlocal written
        for pixels in frames.cpu().numpy():
            Image.fromarray(pixels.squeeze(-1) if info.channels == 1 else pixels).save(part / f"{written:06d}.png")
            written += 1

    with new_folder(folder) as part:
        yield write
