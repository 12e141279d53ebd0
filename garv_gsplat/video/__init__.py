"""Read and write videos as 8-bit RGB frames (PyAV for video files, Pillow for folders of images)."""

from __future__ import annotations

from garv_gsplat.video.frames import Video, VideoError, estimate_bytes, video_from_array
from garv_gsplat.video.piping import PipeWriter
from garv_gsplat.video.reader import read_info, read_video
from garv_gsplat.video.writer import VideoWriter, check_writable

__all__ = [
    "PipeWriter",
    "Video",
    "VideoError",
    "VideoWriter",
    "check_writable",
    "estimate_bytes",
    "read_info",
    "read_video",
    "video_from_array",
]
