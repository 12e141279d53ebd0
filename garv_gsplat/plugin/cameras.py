"""Frames as cameras, and what of a video a camera sees.

In nerfstudio's world (x right, y up) every frame is a picture in the same place, the plane z = 0: y from -1 at the
bottom to 1 at the top, x from -W/H to W/H. A camera's time, from 0 to 1, says which frame it is. The frame cameras look
straight at the picture and see exactly its pixels; for every other camera its pixels' rays are cut with the plane.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from nerfstudio.cameras.cameras import Cameras, CameraType
from torch import Tensor

from garv_gsplat.volume import Box, VideoInfo

CAMERA_DISTANCE = 3.0  # of the frame cameras from the plane, in half frame heights
_SNAP = 1e-3  # frames; a time this near to a frame's centre means the frame


def frame_cameras(info: VideoInfo) -> Cameras:
    """One camera a frame, at the same place, at the frames' times."""
    pose = torch.eye(4)[:3]
    pose[2, 3] = CAMERA_DISTANCE
    focal = CAMERA_DISTANCE * info.height / 2
    return Cameras(
        camera_to_worlds=pose.expand(info.frames, 3, 4).clone(),
        fx=focal,
        fy=focal,
        cx=info.width / 2,
        cy=info.height / 2,
        width=info.width,
        height=info.height,
        camera_type=CameraType.PERSPECTIVE,
        times=torch.tensor(info.frame_centers())[:, None],
    )


def is_frame_camera(camera: Cameras, info: VideoInfo) -> bool:
    """Whether `camera` (a batch of one) sees a frame pixel by pixel."""
    frame = frame_cameras(VideoInfo(info.width, info.height, 1))
    names = ("camera_to_worlds", "fx", "fy", "cx", "cy", "width", "height", "camera_type")
    return all(torch.equal(getattr(camera, n).cpu().reshape(-1), getattr(frame, n).reshape(-1)) for n in names)


def camera_time(camera: Cameras, info: VideoInfo) -> float:
    """The camera's time in the unit cube; a frame's exact centre when it is meant."""
    if camera.times is None:
        return 0.5 / info.frames
    time = float(camera.times.reshape(-1)[0])
    frame = min(info.frames - 1, max(0, int(time * info.frames)))
    center = (frame + 0.5) / info.frames
    return center if abs(time - center) * info.frames < _SNAP else time


@dataclass
class Sight:
    """Where the rays of a camera's pixels meet the plane of the frames."""

    points: Tensor  # [H, W, 2] x and y in the unit cube; only meaningful where `inside`
    inside: Tensor  # [H, W] bool: the ray meets the picture
    depth: Tensor  # [H, W, 1] along the ray; the farthest one where it misses

    def crop(self) -> tuple[Box, tuple[int, int]] | None:
        """The part of the picture in sight, and the size (W, H) at which it is seen; None when it is out of sight.

        For a camera that looks straight ahead the crop's pixels are the camera's.
        """
        columns, rows = self.inside.any(0).nonzero(), self.inside.any(1).nonzero()
        if len(columns) == 0:
            return None
        size = tuple(int(seen[-1] - seen[0]) + 1 for seen in (columns, rows))
        seen = self.points[self.inside]
        low, high = seen.amin(0).tolist(), seen.amax(0).tolist()
        # the outermost rays go through pixel centres, half a pixel from the crop's edge
        margin = [(b - a) / (2 * (n - 1)) if n > 1 and b > a else 0.5 / n for a, b, n in zip(low, high, size)]
        (x0, y0), (x1, y1) = ([a - m for a, m in zip(low, margin)], [b + m for b, m in zip(high, margin)])
        return Box(x0=x0, y0=y0, x1=x1, y1=y1), size


def look(camera: Cameras, info: VideoInfo, obb_box=None) -> Sight:
    """Cut the rays of `camera` (a batch of one, of any type) with the plane; `obb_box` is the viewer's crop box."""
    rays = camera.generate_rays(camera_indices=0, keep_shape=True)
    distance = -rays.origins[..., 2:] / rays.directions[..., 2:]
    world = rays.origins + distance * rays.directions
    points = torch.stack([world[..., 0] * info.height / info.width + 1, 1 - world[..., 1]], -1) / 2
    inside = (distance[..., 0] > 0) & (points >= 0).all(-1) & (points <= 1).all(-1)
    if obb_box is not None:
        inside &= obb_box.within(world.reshape(-1, 3)).reshape(inside.shape)
    farthest = distance[inside].amax() if inside.any() else distance.new_tensor(CAMERA_DISTANCE)
    return Sight(points, inside, torch.where(inside[..., None], distance, farthest))


def sample(image: Tensor, box: Box, sight: Sight) -> Tensor:
    """Look up what `sight` sees in `image` [h, w, C], a rendering of `box`: [H, W, C], black outside of the picture."""
    low = sight.points.new_tensor([box.x0, box.y0])
    high = sight.points.new_tensor([box.x1, box.y1])
    grid = ((sight.points - low) / (high - low) * 2 - 1).nan_to_num(0.0)
    planes = torch.nn.functional.grid_sample(
        image.permute(2, 0, 1)[None], grid[None], padding_mode="border", align_corners=False
    )
    return planes[0].permute(1, 2, 0) * sight.inside[..., None]
