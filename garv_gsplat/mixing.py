"""`.garv` files mixed by region without the video, as a viewer's gaze or connection changes (GaRV sec. 4.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch

from garv_gsplat.codec import GarvFile, combine
from garv_gsplat.gaussians import VideoGaussians, join
from garv_gsplat.gaze import Region
from garv_gsplat.regions import FEATHER, check_one_video, spread_of, weights_in
from garv_gsplat.seams import mixed_colors
from garv_gsplat.volume import Box, VideoInfo


@dataclass(frozen=True)
class MixResult:
    """A mixed file, and what it takes of each file that went in."""

    data: bytes
    """of the `.garv`"""
    files: tuple[GarvFile, ...]
    """those that went in, in the order of their precedence"""
    stream_bytes: tuple[int, ...]
    """of the Gaussians of each file"""
    copied_chunks: tuple[int, ...]
    """of each file, copied byte for byte"""


def mix_files(
    files: Sequence[GarvFile],
    regions: Sequence[Region],
    feather: float = FEATHER,
    tracks: bytes | None = None,
    device: torch.device | str | None = None,
) -> MixResult:
    """A file that shows the first file in the first region, the second one in what the second region has beside, and
    so on, and the last file everywhere else; `regions.mix`, on files, with its seams closed: `seams.mixed_colors`.

    feather: how wide the bands around regions are in which both files are seen, see `regions.weights_in`.
    tracks: sound and subtitles to carry along.
    device: where seams are closed; a GPU if there is one. There sums' last bits, and with them a rounded colour, may
        change from run to run unless `torch.use_deterministic_algorithms(True)` was called.

    Chunks whose Gaussians all keep their colours are copied as they are coded. Raises ValueError for files of different
    videos or codecs, and another number of regions than of files but one.
    """
    if len(regions) != len(files) - 1:
        raise ValueError(f"the last file is for the rest: {len(files)} files need {len(files) - 1} regions")
    check_one_video([file.info for file in files])
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    parts, counts = zip(*map(_read, files))
    parts = [part.to(device) for part in parts]
    windows = [
        partial(weights_in, region, spread=spread_of(part), feather=feather) for region, part in zip(regions, parts)
    ]
    colors = mixed_colors(parts, windows)
    recolored = [each.cpu().split(count) for each, count in zip(colors, counts)]
    mixture = combine(list(zip(files, recolored)), tracks)
    return MixResult(mixture.data, tuple(files), tuple(mixture.stream_bytes), tuple(mixture.copied))


def _read(file: GarvFile) -> tuple[VideoGaussians, list[int]]:
    """All Gaussians of a file, chunk after chunk, and how many each chunk has."""
    chunks = [file.read([number]) for number in range(len(file.chunks))]
    return join(chunks) if chunks else file.read(), [len(chunk) for chunk in chunks]


def switch_files(
    switches: Sequence[tuple[float, GarvFile]],
    feather: float = FEATHER,
    tracks: bytes | None = None,
    device: torch.device | str | None = None,
) -> MixResult:
    """A file that shows, from each of the given seconds on, the file given with it.

    Where two meet, the one of more bytes goes on a little longer: it is the one whose quality must not suffer. One file
    may come up several times; it is one where it is the same object. Raises as `mix_files` does, and ValueError for
    times that do not rise from 0 within the video.
    """
    info = switches[0][1].info if switches else None
    seconds = [float(second) for second, _ in switches]
    if not seconds or seconds[0] != 0 or any(b <= a for a, b in zip(seconds, seconds[1:])):
        raise ValueError(f"switches must rise from 0 seconds on, got {', '.join(f'{s:g}' for s in seconds) or 'none'}")
    if seconds[-1] >= info.duration:
        raise ValueError(f"the last switch is at {seconds[-1]:g} s, but the video ends at {float(info.duration):g} s")
    check_one_video([file.info for _, file in switches])
    starts = [_frame_from(info, second) / info.frames for second in seconds]
    spans: dict[GarvFile, list[Box]] = {}
    for (_, file), start, end in zip(switches, starts, [*starts[1:], 1.0]):
        spans.setdefault(file, [])
        if start < end:
            spans[file].append(Box(t0=start, t1=end))
    files = sorted(spans, key=lambda file: file.picture_bytes, reverse=True)
    files = [file for file in files if spans[file]]
    return mix_files(files, [Region(spans[file]) for file in files[:-1]], feather, tracks, device)


def _frame_from(info: VideoInfo, second: float) -> int:
    """The first frame that is shown at a time or later."""
    frame = info.frame_at(second)
    return frame if info.seconds(frame) >= second else frame + 1
