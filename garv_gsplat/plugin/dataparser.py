"""A video, or a folder of images, as nerfstudio data: every frame is a camera whose content is its time."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from nerfstudio.data.dataparsers.base_dataparser import DataParser, DataParserConfig, DataparserOutputs

from garv_gsplat.plugin.cameras import frame_cameras
from garv_gsplat.video import Video, add_tracks, read_info, read_video
from garv_gsplat.volume import VideoInfo


@dataclass
class VideoDataParserConfig(DataParserConfig):
    """Which part of which video is taken."""

    _target: type = field(default_factory=lambda: VideoDataParser)
    """the class this configures"""
    data: Path = Path()
    """video file, image, or folder of images; --data sets it"""
    start: Annotated[float | None, tyro.conf.arg(aliases=("--start",))] = None
    """seconds from the first frame to the first frame taken"""
    duration: Annotated[float | None, tyro.conf.arg(aliases=("--duration",))] = None
    """seconds to take; to the end if not given"""
    max_frames: Annotated[int | None, tyro.conf.arg(aliases=("--max-frames",))] = None
    """most frames to take"""
    frame_rate: float | None = None
    """frames per second of a folder of images (25 if not given); videos have their own"""


class VideoDataParser(DataParser):
    """Reads a video when it is asked for; until then it may do with the size that a checkpoint tells."""

    config: VideoDataParserConfig
    includes_time = True

    def __init__(self, config: VideoDataParserConfig) -> None:
        super().__init__(config)
        self._video: Video | None = None
        self._info: VideoInfo | None = None

    def read(self) -> Video:
        """The decoded video; raises VideoError. Decodes at the first call only."""
        if self._video is None:
            self._video = read_video(self.config.data, **self._part())
            self._info = self._video.info
        return self._video

    def read_tracks(self) -> Video:
        """`read`, with the sound and subtitles of the same part, and notes on what of them cannot be taken."""
        video, part = self.read(), self.config
        duration = part.duration if part.max_frames is None else float(video.info.duration)
        return add_tracks(video, part.data, part.start, duration)

    def read_info(self) -> VideoInfo:
        """What `read` will give, without decoding where the file allows; raises VideoError."""
        return read_info(self.config.data, **self._part())

    def adopt(self, info: VideoInfo) -> None:
        """Take the video's size and timing from a checkpoint, so that the video itself need not be there."""
        if self._video is None:
            self._info = info

    def _part(self) -> dict:
        names = ("start", "duration", "max_frames", "frame_rate")
        return {name: getattr(self.config, name) for name in names}

    def _generate_dataparser_outputs(self, split: str = "train", **kwargs) -> DataparserOutputs:
        """All frames, in every split: a video is fitted as a whole."""
        info = self._info or VideoInfo(1, 1, 1)  # a placeholder, until a checkpoint tells
        digits = max(5, len(str(info.frames)))
        return DataparserOutputs(
            image_filenames=[self.config.data / f"{k:0{digits}d}.png" for k in range(info.frames)],  # names only
            cameras=frame_cameras(info),
            metadata={"video_info": self._info},
        )
