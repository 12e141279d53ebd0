"""Read and write videos as 8-bit RGB frames (PyAV for video files, Pillow for folders of images), and their sound."""

from __future__ import annotations

from garv_gsplat.video.color import read_color
from garv_gsplat.video.frames import Video, VideoError, estimate_bytes, video_from_array
from garv_gsplat.video.orientation import display_matrix
from garv_gsplat.video.piping import PipeWriter
from garv_gsplat.video.reader import read_info, read_video
from garv_gsplat.video.streaming import PictureStream, native_frames, picture_stream, rgb_batches
from garv_gsplat.video.tracks import add_tracks, read_tracks
from garv_gsplat.video.writer import VideoWriter, check_writable

__all__ = [
    "PictureStream",
    "PipeWriter",
    "Video",
    "VideoError",
    "VideoWriter",
    "add_tracks",
    "check_writable",
    "display_matrix",
    "estimate_bytes",
    "native_frames",
    "picture_stream",
    "read_color",
    "read_info",
    "read_tracks",
    "read_video",
    "rgb_batches",
    "video_from_array",
]
